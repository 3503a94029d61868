// Classifies images by the likelihoods that a model with classes gives them under each class.
import type { ImageBatch } from '../data/image-batch.js';
import { type Protocol, protocols } from '../data/protocol.js';
import { check, PixelCnnError } from '../errors.js';
import { eventOption, parseOptions, signalOption, z } from '../options.js';
import { algorithms } from '../program/algorithm.js';
import { type ProgressEvent, twiceASecond } from '../progress-event.js';
import { seedKey } from '../random/philox.js';
import { checkImages, copyImages } from './check-images.js';
import { checkProtocol } from './check-protocol.js';
import { conditionOf } from './condition.js';
import { runNats } from './likelihood.js';
import type { Model } from './model.js';
import { chooseWeights, type Weights, weightsOption, withWeights } from './weights.js';

export const classifySchema = z.strictObject({
  protocol: z
    .enum(protocols)
    .optional()
    .describe(
      'how the bytes of the images become levels: levels, threshold or dynamic; default: as in training',
    ),
  seed: z.int().min(0).default(0).describe('of dynamic binarisation'),
  weights: weightsOption,
  algorithm: z
    .enum(algorithms)
    .default('direct')
    .describe('masked convolution: auto, winograd, or direct, which is exactly causal'),
  signal: signalOption.optional(),
  /** Called with `progress` events, at most twice a second, and once at the end; every class counts its images again. */
  onEvent: eventOption<ProgressEvent>(),
});

/**
 * The options of {@link PixelCNN.classify}.
 *
 * @interface
 */
export type ClassifyOptions = z.input<typeof classifySchema>;

/** The classes of images, as {@link PixelCNN.classify} computes them. */
export interface Classification {
  /** (N, classes) log p(class | x) in nats, under equal priors. */
  readonly logProbabilities: Float64Array;
  /** (N) the most likely class of each image. */
  readonly labels: Uint16Array;
  readonly classes: number;
  /** The names of the classes, if the model knows them. */
  readonly classNames: string[] | undefined;
  /** How the images became levels. */
  readonly protocol: Protocol;
  readonly weights: Weights;
}

/** @internal Classifies images, as {@link PixelCNN.classify}. */
export async function classifyImages(
  model: Model,
  images: ImageBatch,
  options: ClassifyOptions,
): Promise<Classification> {
  const parsed = parseOptions('classify', classifySchema, options);
  const classes = classesOf(model);
  chooseWeights('classify', model, parsed.weights);
  const given = checkImages('classify: images', images, model);
  const protocol = protocolOf(model, given, parsed.protocol);
  const { algorithm, seed, onEvent } = parsed;
  const { count, height, width } = given;
  const work = { count, height, width, passes: classes };
  return model.device.calls.run('classify', work, parsed.signal, (signal) => {
    const copy = copyImages(given);
    return withWeights('classify', model, parsed.weights, signal, async (weights) => {
      const nats: Float64Array[] = [];
      const of = classes * count;
      const report = (done: number) => onEvent?.({ type: 'progress', done, of });
      const reportRarely = twiceASecond(report);
      for (let label = 0; label < classes; label += 1) {
        nats.push(
          await runNats(model, copy, {
            algorithm,
            weights,
            signal,
            condition: {
              kind: 'classes',
              values: new Uint32Array(count).fill(label),
              perImage: 1,
              none: false,
            },
            binarisation: protocol === 'dynamic' ? { key: seedKey(seed), epoch: 0 } : undefined,
            onImages: (done) => reportRarely(label * count + done, of),
          }),
        );
      }
      report(of);
      return {
        ...posteriors(nats, count),
        classes,
        classNames: model.classNames?.slice(),
        protocol,
        weights,
      };
    });
  });
}

function classesOf({ config }: Model): number {
  const condition = conditionOf(config);
  if (condition?.kind === 'classes') return condition.size;
  const has = condition === undefined ? 'no condition' : `${condition.kind} as its condition`;
  throw new PixelCnnError('ERR_CONDITION', `classify: the model must have classes, and it has ${has}`, {
    remedy: 'train a model with `condition: { classes: n }` on images that have labels',
  });
}

/**
 * Returns the protocol to give images by. A model of two levels that was trained on binarised images gives others a
 * meaningless likelihood, so its protocol must be known.
 */
function protocolOf(model: Model, images: ImageBatch, asked: Protocol | undefined): Protocol {
  const { levels } = model.config;
  const isPlain = levels > 2 || images.values === 'levels';
  const protocol = asked ?? model.protocol ?? (isPlain ? 'levels' : undefined);
  check(protocol !== undefined, 'ERR_INVALID_ARG_VALUE', () => {
    return `classify: the model has ${levels} levels and does not say how its training images became binary: pass \`protocol\`, 'threshold' or 'dynamic'`;
  });
  checkProtocol('classify', protocol, levels, images.values);
  return protocol;
}

/** Returns log p(class | x) and the most likely class of each image, from -log p(x | class) by class. */
function posteriors(nats: readonly Float64Array[], count: number) {
  const classes = nats.length;
  const logProbabilities = new Float64Array(count * classes);
  const labels = new Uint16Array(count);
  for (let n = 0; n < count; n += 1) {
    const ofImage = nats.map((values) => values[n]!);
    const least = Math.min(...ofImage);
    const sum = ofImage.reduce((total, value) => total + Math.exp(least - value), 0);
    for (const [label, value] of ofImage.entries())
      logProbabilities[n * classes + label] = least - value - Math.log(sum);
    labels[n] = Math.max(0, ofImage.indexOf(least));
  }
  return { logProbabilities, labels };
}
