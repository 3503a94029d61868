// Reads the test images of `pixelcnn train` and evaluates the model on them at the end of the run.
import { type ImageBatch, sliceImages } from '../data/image-batch.js';
import type { Split } from '../data/image-spec.js';
import { checkImages } from '../models/check-images.js';
import { givenCondition } from '../models/given-condition.js';
import type { PixelCNN } from '../pixelcnn.js';
import type { ProgressEvent } from '../progress-event.js';
import { evaluate } from '../train/evaluate.js';
import { checkLabelled } from './conditions.js';
import { UsageError } from './failure.js';
import { checkNamedSplit, countText, readImages, unitOf } from './image-options.js';
import { countedProgress, ProgressLine } from './progress.js';
import { type Terminal, thousands } from './terminal.js';
import type { ResolvedFlags } from './train-flags.js';

export interface TestImages {
  /** The text of the flag. */
  readonly data: string;
  readonly images: ImageBatch;
  /** The split of the data that they are, if the data have splits. */
  readonly split: Split | undefined;
  /** Number of images (or crops) in the data, the first of which are evaluated. */
  readonly of: number;
  /** Sentences that say what was done to the images. */
  readonly notes: readonly string[];
}

/** Reads the images of --test; undefined without that flag. */
export async function readTestImages(
  options: ResolvedFlags,
  terminal: Terminal,
): Promise<TestImages | undefined> {
  const { test, testLimit, crops = 1 } = options;
  if (test === undefined && testLimit !== undefined)
    throw new UsageError(`train: --test-limit ${testLimit} needs --test`, 'train');
  if (test === undefined || test === false) return undefined;
  const images = await readImages(test, { ...options, limit: undefined }, terminal);
  await checkNamedSplit('test', test, images);
  // The limit counts whole images, each with all of its crops.
  const count = testLimit === undefined ? images.count : Math.min(testLimit * crops, images.count);
  const { split, notes } = images;
  return { data: test, images: sliceImages(images, 0, count), split, of: images.count, notes };
}

/** Checks that the images fit the model, so that they are refused now rather than after hours of training. */
export function checkTestImages(
  { data, images }: TestImages,
  { config }: PixelCNN,
  { values = 'bytes', classNames }: ImageBatch,
): void {
  const checked = checkImages('train: --test', images, { config, values });
  checkLabelled('train', `--test ${data}`, { config, classNames }, checked);
  givenCondition('train: --test', { config, classNames }, {}, checked, checked);
}

/** Evaluates the images, notes the result with their number, and returns what the summary says about it. */
export async function evaluateTest(
  model: PixelCNN,
  test: TestImages,
  options: Pick<ResolvedFlags, 'protocol' | 'seed' | 'crops'>,
  context: { terminal: Terminal; signal: AbortSignal },
): Promise<object> {
  const { terminal, signal } = context;
  const { protocol, seed, crops } = options;
  terminal.live(`evaluating ${test.data}`);
  const show = countedProgress(new ProgressLine(terminal), `evaluating ${test.data}`, unitOf(options));
  const onEvent = ({ done, of }: ProgressEvent) => {
    show({ done, of });
    terminal.record({ type: 'testing', done, of });
  };
  const result = await evaluate(model, test.images, { protocol, seed, signal, onEvent });
  const { nats, bitsPerDim, images, weights, given } = result;
  const first = images < test.of ? `first ${thousands(images)} of ` : '';
  const loss = `${bitsPerDim.toFixed(4)} bits/dim (${nats.toFixed(2)} nats)`;
  const givenText = given === null ? '' : `, given ${given}`;
  terminal.note(`test ${loss}, ${first}${countText(test.of, options)}, ${weights} weights${givenText}`);
  return { data: test.data, split: test.split ?? null, ...result, of: test.of, crops: crops ?? null };
}
