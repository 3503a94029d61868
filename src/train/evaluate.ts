// Likelihood of a whole dataset, no image dropped, under a named protocol.
import type { ImageBatch, ImageValues } from '../data/image-batch.js';
import { check } from '../errors.js';
import { checkImages, copyImages } from '../models/check-images.js';
import { runNats } from '../models/likelihood.js';
import type { Model } from '../models/model.js';
import { chooseWeights, type Weights, weightsOption, withWeights } from '../models/weights.js';
import { algorithms } from '../ops/masked-conv2d.js';
import { parseOptions, signalOption, z } from '../options.js';
import { checkModel, type PixelCNN } from '../pixelcnn.js';
import { seedKey } from '../random/philox.js';
import { type Protocol, protocols } from './options.js';
import { type ProgressEvent, twiceASecond } from './progress-event.js';

export const evaluateSchema = z.strictObject({
  protocol: z
    .enum(protocols)
    .default('levels')
    .describe(
      'levels: bytes as they are; threshold or dynamic: binarised, at 128 or with probability byte / 255',
    ),
  weights: weightsOption,
  draws: z.int().min(1).max(1000).default(1).describe('for dynamic binarisation: draws to average over'),
  seed: z.int().min(0).default(0).describe('of dynamic binarisation'),
  algorithm: z
    .enum(algorithms)
    .default('direct')
    .describe('masked convolution: auto, winograd, or direct, which is exactly causal'),
  signal: signalOption.optional(),
  /** Called with `progress` events, twice a second at most; a last one says that all images are done. */
  onEvent: z
    .custom<(event: ProgressEvent) => void>((value) => typeof value === 'function', 'expected a function')
    .optional(),
});
/**
 * What {@link evaluate} takes.
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
  /** Mean nats of each draw; one for protocols without chance. */
  readonly natsPerDraw: readonly number[];
}

/**
 * Evaluates every image of `dataset`. Protocols `threshold` and `dynamic` need a model of 2 levels.
 * @throws PixelCnnError as {@link PixelCNN.logLikelihood}; ERR_INVALID_ARG_VALUE also for a protocol that does not fit
 * the model; or what `onEvent` throws.
 */
export async function evaluate(
  model: PixelCNN,
  dataset: ImageBatch,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const internals = checkModel('evaluate', model);
  const parsed = parseOptions('evaluate', evaluateSchema, options);
  chooseWeights('evaluate', internals, parsed.weights); // refused at once, chosen again when its turn has come
  const given = checkImages('evaluate: images', dataset, internals);
  return model.device.calls.run('evaluate', given, parsed.signal, (signal) => {
    const copy = copyImages(given);
    return withWeights('evaluate', internals, parsed.weights, signal, (weights) =>
      evaluateImages(internals, copy, { ...parsed, weights, signal }),
    );
  });
}

/** @internal Binarisation is of binary models, and of bytes. */
export function checkProtocol(
  caller: string,
  protocol: Protocol,
  levels: number,
  values: ImageValues | undefined,
): void {
  check(protocol === 'levels' || values !== 'levels', 'ERR_INVALID_ARG_VALUE', () => {
    return `${caller}: protocol '${protocol}' turns bytes into levels, these images hold levels already: use protocol 'levels'`;
  });
  check(protocol === 'levels' || levels === 2, 'ERR_INVALID_ARG_VALUE', () => {
    return `${caller}: protocol '${protocol}' needs a model of 2 levels, this one has ${levels}`;
  });
}

/** @internal */
export async function evaluateImages(
  model: Model,
  images: ImageBatch,
  options: z.output<typeof evaluateSchema> & { readonly weights: Weights },
): Promise<Evaluation> {
  const { protocol, weights, draws, seed } = options;
  checkProtocol('evaluate', protocol, model.config.levels, images.values);
  const natsPerDraw: number[] = [];
  const passes = protocol === 'dynamic' ? draws : 1;
  const of = passes * images.count;
  const tell = (done: number) => options.onEvent?.({ type: 'progress', done, of });
  const tellRarely = twiceASecond(tell);
  for (let draw = 0; draw < passes; draw += 1) {
    const onImages = (done: number) => tellRarely(draw * images.count + done, of);
    const binarisation = protocol === 'dynamic' ? { key: seedKey(seed), epoch: draw } : undefined;
    const nats = await runNats(model, images, { ...options, binarisation, onImages });
    natsPerDraw.push(nats.reduce((sum, value) => sum + value, 0) / images.count);
  }
  tell(of);
  const nats = natsPerDraw.reduce((sum, value) => sum + value, 0) / natsPerDraw.length;
  const bitsPerDim = nats / (images.height * images.width * images.channels * Math.LN2);
  return { nats, bitsPerDim, images: images.count, protocol, weights, natsPerDraw };
}
