// Defines presets: named starting points for training whose data, model and hyperparameters go together.
import type { PixelCnnOptions } from '../models/config.js';
import type { hyperparameters, TrainOptions } from './options.js';

export interface Preset {
  readonly description: string;
  /** Images to train on, as loadImages takes them; without it the user must name the data. */
  readonly data?: string;
  /** Images for the evaluation at the end, as loadImages takes them. */
  readonly test?: string;
  /** The number of image channels follows from the data. */
  readonly model: Readonly<Omit<PixelCnnOptions, 'channels'>>;
  readonly training: Readonly<Pick<TrainOptions, keyof typeof hyperparameters>>;
  /** Share of the training images to hold out for validation. */
  readonly validation: number;
}

// The warm-up is a share of the run (500 of the 26,000 steps of mnist-binary), so that it also ends in a run
// that is made shorter than the preset.
const adam = { schedule: 'cosine', warmupSteps: 500 / 26_000, emaDecay: 0.999 } as const;

export const presets = {
  'mnist-binary': {
    description: 'dynamically binarised MNIST',
    data: 'mnist',
    test: 'mnist:test',
    model: { hiddenChannels: 64, layers: 7, kernelSize: 7, levels: 2 },
    training: {
      ...adam,
      protocol: 'dynamic',
      epochs: 7,
      batchSize: 16,
      learningRate: 2e-3,
      maxGradientNorm: 1,
    },
    validation: 0.01,
  },
  'mnist-gated': {
    description: 'Gated PixelCNN on dynamically binarised MNIST, for a GPU',
    data: 'mnist',
    test: 'mnist:test',
    model: { architecture: 'gated', hiddenChannels: 128, layers: 10, kernelSize: 5, levels: 2 },
    training: {
      ...adam,
      protocol: 'dynamic',
      epochs: 30,
      batchSize: 128,
      learningRate: 2e-3,
      maxGradientNorm: 1,
    },
    validation: 0.01,
  },
  'mnist-gated-cpu': {
    description: 'a smaller Gated PixelCNN on dynamically binarised MNIST, about 20 minutes on two cores',
    data: 'mnist',
    test: 'mnist:test',
    model: { architecture: 'gated', hiddenChannels: 32, layers: 7, kernelSize: 5, levels: 2 },
    training: {
      ...adam,
      protocol: 'dynamic',
      epochs: 7,
      batchSize: 16,
      learningRate: 2e-3,
      maxGradientNorm: 1,
    },
    validation: 0.01,
  },
  'mnist-digits': {
    description:
      'draws the digit that is asked for: a Gated PixelCNN on MNIST in black and white, given the digit',
    data: 'mnist',
    test: 'mnist:test',
    model: {
      architecture: 'gated',
      hiddenChannels: 32,
      layers: 7,
      kernelSize: 5,
      levels: 2,
      condition: { classes: 10, none: true },
    },
    training: {
      ...adam,
      protocol: 'threshold',
      steps: 8000,
      batchSize: 16,
      learningRate: 2e-3,
      maxGradientNorm: 1,
      conditionDropout: 0.1,
    },
    validation: 0.01,
  },
  'fashion-clothes': {
    description:
      'draws the clothing that is asked for: a Gated PixelCNN on Fashion-MNIST in 16 levels, given the class',
    data: 'fashion-mnist',
    test: 'fashion-mnist:test',
    model: {
      architecture: 'gated',
      hiddenChannels: 32,
      layers: 7,
      kernelSize: 5,
      levels: 16,
      condition: { classes: 10, none: true },
    },
    training: {
      ...adam,
      steps: 20_000,
      batchSize: 16,
      learningRate: 2e-3,
      maxGradientNorm: 1,
      conditionDropout: 0.1,
    },
    validation: 0.01,
  },
  mnist: {
    description: 'MNIST as 8-bit images, the baseline of the paper',
    data: 'mnist',
    test: 'mnist:test',
    model: { hiddenChannels: 64, layers: 7, kernelSize: 7, levels: 256 },
    training: { ...adam, epochs: 10, batchSize: 16, learningRate: 1e-3 },
    validation: 0.05,
  },
  'mnist-demo': {
    description: 'small and fast: MNIST in black and white, about two minutes on two cores',
    data: 'mnist',
    test: 'mnist:test',
    model: { hiddenChannels: 32, layers: 7, kernelSize: 7, levels: 2 },
    training: {
      ...adam,
      protocol: 'threshold',
      steps: 2600,
      batchSize: 16,
      learningRate: 3e-3,
      warmupSteps: 100 / 2600,
      emaDecay: 0.998,
      maxGradientNorm: 1,
    },
    validation: 0.02,
  },
  'fashion-mnist': {
    description: 'Fashion-MNIST as 8-bit images (not the official split)',
    data: 'fashion-mnist',
    test: 'fashion-mnist:test',
    model: { hiddenChannels: 64, layers: 7, kernelSize: 7, levels: 256 },
    training: { ...adam, epochs: 10, batchSize: 16, learningRate: 1e-3 },
    validation: 0.05,
  },
  cifar10: {
    description: 'CIFAR-10, 32x32 RGB; give --data FOLDER with the binary batches',
    model: { hiddenChannels: 126, layers: 15, kernelSize: 3, levels: 256 },
    training: { ...adam, epochs: 50, batchSize: 16, learningRate: 5e-4, maxGradientNorm: 1 },
    validation: 0.05,
  },
} as const satisfies Readonly<Record<string, Preset>>;

export type PresetName = keyof typeof presets;
