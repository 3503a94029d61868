// Defines what a network is, and records what is computed with one: logits, likelihoods and training steps.
import { type AdamOperands, adam } from '../ops/adam.js';
import type { Declarations } from '../ops/declarations.js';
import { recordGradients } from '../ops/gradients.js';
import { recordPacking } from '../ops/masked-conv2d.js';
import { quantise } from '../ops/quantise.js';
import type { DrawOperands } from '../ops/sample.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { recordCondition } from './condition.js';
import type { NetworkSizes } from './config.js';

/** The distribution of a pixel's channels, which a network predicts. */
export interface Head {
  /** Records the parameters of the distribution (N, H, W, channels * levels). */
  logits(r: Recorder, features: Tensor): Tensor;
  /** Records -log p of the levels of each image in nats (N, float64). */
  nats(r: Recorder, features: Tensor, level: Tensor): Tensor;
  /**
   * Records the draw of one channel, that of the sampler's pass which is being recorded. It reads the features at the pixel
   * itself only.
   */
  draw(r: Recorder, features: Tensor, operands: DrawOperands): void;
}

/** A network of one architecture and configuration. Gradients, files and the sampler follow from what it says here. */
export interface Network {
  /** The parameters that the layers declare. */
  readonly parameters: Declarations;
  readonly head: Head;
  /**
   * Records the features (N, H, W, any channels) that the head predicts from, given the image (N, H, W, channels) and what
   * {@link recordCondition} returns for the network's condition, null if it has none.
   */
  features(r: Recorder, image: Tensor, condition: Tensor | null): Tensor;
}

/** A network with the sizes of the images that it predicts: what recording needs of a model. */
interface ConfiguredNetwork {
  readonly network: Network;
  readonly config: Pick<NetworkSizes, 'channels' | 'levels' | 'condition'>;
}

/** The images that a network is recorded for. */
export interface GivenImages {
  /** (N, H, W, channels, uint8) */
  readonly bytes: Tensor;
  /** Their condition, as {@link describeCondition} describes it. */
  readonly condition: Tensor | null;
}

/** Records the levels of images and the features that the network computes. */
function recordFeatures(
  r: Recorder,
  { network, config }: ConfiguredNetwork,
  { bytes, condition }: GivenImages,
) {
  const { level, x } = quantise(r, 'quantise', bytes, config.levels);
  r.sights.setImage(x, config.channels);
  return { level, features: network.features(r, x, recordCondition(r, condition)) };
}

/** Records the logits (N, H, W, channels * levels) of images. */
export function recordLogits(r: Recorder, model: ConfiguredNetwork, images: GivenImages): Tensor {
  return model.network.head.logits(r, recordFeatures(r, model, images).features);
}

/** Records the negative log-likelihood of each image in nats (N, float64). */
export function recordNats(r: Recorder, model: ConfiguredNetwork, images: GivenImages): Tensor {
  const { level, features } = recordFeatures(r, model, images);
  return model.network.head.nats(r, features, level);
}

/**
 * Records one training step on images, which packs the weights first if the recorder has a list for them. Returns
 * the images' nats (N, float64) before the step.
 */
export function recordTrainingStep(
  r: Recorder,
  model: ConfiguredNetwork,
  images: GivenImages,
  optimizer: AdamOperands,
): Tensor {
  const start = r.ops.length;
  const nats = recordNats(r, model, images);
  recordGradients(r);
  adam(r, 'adam', optimizer);
  const { packs } = r.options;
  if (packs !== undefined) recordPacking(r, packs, start);
  return nats;
}
