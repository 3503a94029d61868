// Evaluates the likelihood of a whole dataset, without dropping an image, under a named protocol.
import type { ImageBatch } from '../data/image-batch.js';
import { type Protocol, protocols } from '../data/protocol.js';
import { checkImages, copyImages } from '../models/check-images.js';
import { checkProtocol } from '../models/check-protocol.js';
import {
  type ConditionField,
  conditionField,
  conditionOptions,
  type GivenCondition,
  givenCondition,
} from '../models/given-condition.js';
import { runNats } from '../models/likelihood.js';
import type { Model } from '../models/model.js';
import { chooseWeights, type Weights, weightsOption, withWeights } from '../models/weights.js';
import { eventOption, parseOptions, signalOption, z } from '../options.js';
import { checkModel, type PixelCNN } from '../pixelcnn.js';
import { algorithms } from '../program/algorithm.js';
import { type ProgressEvent, twiceASecond } from '../progress-event.js';
import { seedKey } from '../random/philox.js';

export const evaluateSchema = z.strictObject({
  protocol: z
    .enum(protocols)
    .optional()
    .describe(
      'levels: bytes as they are; threshold or dynamic: binarised, at 128 or with probability byte / 255; default: as in training, else levels',
    ),
  weights: weightsOption,
  draws: z.int().min(1).max(1000).default(1).describe('for dynamic binarisation: draws to average over'),
  seed: z.int().min(0).default(0).describe('of dynamic binarisation'),
  algorithm: z
    .enum(algorithms)
    .default('direct')
    .describe('masked convolution: auto, winograd, or direct, which is exactly causal'),
  ...conditionOptions,
  signal: signalOption.optional(),
  /** Called with `progress` events, at most twice a second, and once when all images are done. */
  onEvent: eventOption<ProgressEvent>(),
});
/**
 * The options of {@link evaluate}.
 *
 * @interface
 */
export type EvaluateOptions = z.input<typeof evaluateSchema>;

export interface Evaluation {
  /** Mean of -log p over images (and draws), in nats. */
  readonly nats: number;
  /** nats / (H * W * channels * ln 2). */
  readonly bitsPerDim: number;
  readonly images: number;
  readonly protocol: Protocol;
  readonly weights: Weights;
  /** Mean nats per image of each draw; protocols that draw nothing have one value. */
  readonly natsPerDraw: readonly number[];
  /**
   * What the likelihood is given: the images' `labels`, `features` or `map`, or `none`, if a model with a condition was asked
   * to go without. Null for a model without a condition.
   */
  readonly given: ConditionField | 'none' | null;
  /** The mean of each class that images have, in the order of classes. Null unless `given` is `labels`. */
  readonly perClass: readonly ClassEvaluation[] | null;
}

/** The likelihood of the images of one class, given that class. */
export interface ClassEvaluation {
  readonly label: number;
  /** The name of the class, if the model knows it. */
  readonly name: string | null;
  readonly images: number;
  readonly nats: number;
  readonly bitsPerDim: number;
}

/**
 * Computes the mean negative log-likelihood of all images of `dataset` (N, H, W, channels). The protocols
 * `threshold` and `dynamic` need a model of 2 levels.
 *
 * It fails as {@link PixelCNN.logLikelihood} does: mostly with ERR_IMAGE_CHANNELS or ERR_IMAGE_VALUES for
 * images that do not fit the model, and with ERR_NO_SUCH_WEIGHTS for weights that it does not hold; also with
 * ERR_INVALID_ARG_VALUE for a protocol that does not fit the model, and with what `onEvent` throws. See
 * docs/errors.md.
 */
export async function evaluate(
  model: PixelCNN,
  dataset: ImageBatch,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const internals = checkModel('evaluate', model);
  const parsed = parseOptions('evaluate', evaluateSchema, options);
  // Refuses at once; the choice is made again when the call's turn comes.
  chooseWeights('evaluate', internals, parsed.weights);
  const given = checkImages('evaluate: images', dataset, internals);
  const condition = givenCondition('evaluate', internals, parsed, given, given);
  const protocol = parsed.protocol ?? internals.protocol ?? 'levels';
  return model.device.calls.run('evaluate', given, parsed.signal, (signal) => {
    const copy = copyImages(given);
    return withWeights('evaluate', internals, parsed.weights, signal, (weights) =>
      evaluateImages(internals, copy, { ...parsed, protocol, weights, condition, signal }),
    );
  });
}

/** @internal Evaluates images that are checked, with the weights that were chosen. */
export async function evaluateImages(
  model: Model,
  images: ImageBatch,
  options: Omit<z.output<typeof evaluateSchema>, 'protocol' | keyof typeof conditionOptions> & {
    readonly protocol: Protocol;
    readonly weights: Weights;
    readonly condition: GivenCondition | undefined;
  },
): Promise<Evaluation> {
  const { protocol, weights, draws, seed, condition } = options;
  checkProtocol('evaluate', protocol, model.config.levels, images.values);
  const natsPerDraw: number[] = [];
  const natsPerImage = new Float64Array(images.count);
  const passes = protocol === 'dynamic' ? draws : 1;
  const of = passes * images.count;
  const report = (done: number) => options.onEvent?.({ type: 'progress', done, of });
  const reportRarely = twiceASecond(report);
  for (let draw = 0; draw < passes; draw += 1) {
    const onImages = (done: number) => reportRarely(draw * images.count + done, of);
    const binarisation = protocol === 'dynamic' ? { key: seedKey(seed), epoch: draw } : undefined;
    const nats = await runNats(model, images, { ...options, binarisation, onImages });
    natsPerDraw.push(nats.reduce((sum, value) => sum + value, 0) / images.count);
    for (const [n, value] of nats.entries()) natsPerImage[n]! += value / passes;
  }
  report(of);
  const nats = natsPerDraw.reduce((sum, value) => sum + value, 0) / natsPerDraw.length;
  const perDim = 1 / (images.height * images.width * images.channels * Math.LN2);
  const bitsPerDim = nats * perDim;
  const given = givenOf(condition);
  const perClass = given === 'labels' ? perClassOf(model, condition!, natsPerImage, perDim) : null;
  const about = { images: images.count, protocol, weights, natsPerDraw, given };
  return { nats, bitsPerDim, ...about, perClass };
}

function givenOf(condition: GivenCondition | undefined): Evaluation['given'] {
  if (condition === undefined) return null;
  return condition.none ? 'none' : conditionField[condition.kind];
}

/** Returns the mean of each class that has images. */
function perClassOf(
  { classNames, config }: Model,
  { values }: GivenCondition,
  nats: Float64Array,
  perDim: number,
): ClassEvaluation[] {
  const classes = config.condition!.classes!;
  const sums = new Float64Array(classes);
  const counts = new Uint32Array(classes);
  for (const [n, label] of values.entries()) {
    sums[label]! += nats[n]!;
    counts[label]! += 1;
  }
  return [...counts].flatMap((images, label) => {
    if (images === 0) return [];
    const mean = sums[label]! / images;
    return { label, name: classNames?.[label] ?? null, images, nats: mean, bitsPerDim: mean * perDim };
  });
}
