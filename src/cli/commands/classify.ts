// Defines `pixelcnn classify`, which finds the class of images by the likelihoods that a model gives them under each.
import type { LoadedImages } from '../../data/load-images.js';
import { PixelCnnError } from '../../errors.js';
import { classNumbers, type ModelClasses } from '../../models/class-labels.js';
import { type Classification, classifySchema } from '../../models/classify.js';
import { z } from '../../options.js';
import type { PixelCNN } from '../../pixelcnn.js';
import type { Command } from '../command.js';
import { deviceOptions, interruptSignal, modelOption, outputOptions, withModel } from '../common.js';
import { classText, hasText, type NamedClass, namedClass } from '../conditions.js';
import { UsageError } from '../failure.js';
import {
  imageOptions,
  imagesText,
  noteOtherSize,
  readImages,
  sizeOf,
  unitOf,
  valuesFor,
} from '../image-options.js';
import { countedProgress, ProgressLine } from '../progress.js';
import { table, thousands } from '../terminal.js';

const schema = z.strictObject({
  model: modelOption,
  data: z.string().min(1).describe(imagesText),
  ...imageOptions,
  ...classifySchema.omit({ signal: true, onEvent: true }).shape,
  ...deviceOptions,
  ...outputOptions,
});

export const classifyCommand: Command<typeof schema> = {
  name: 'classify',
  summary: 'Finds the class of images by a model of classes, and how often it is right.',
  schema,
  positional: 'model',
  examples: [
    'pixelcnn classify digits --data mnist:test --limit 1000',
    'pixelcnn classify runs/pets --data unknown --resize 32 --json | jq .labels',
  ],
  notes:
    'The class of an image is the one under which its likelihood is highest. Every class takes a likelihood pass. ' +
    'Images with labels are counted as right or wrong; --json has the class of each image as `labels`.',

  run(options) {
    const { protocol, seed, algorithm } = options;
    const signal = interruptSignal();
    return withModel('classify', options, async (model, terminal, source) => {
      checkClasses(model);
      const wanted = { ...options, values: valuesFor(model, options) };
      const images = await readImages(options.data, wanted, terminal, signal);
      noteOtherSize(options.data, images, model, terminal);
      const onEvent = countedProgress(new ProgressLine(terminal), 'classifying', 'likelihoods');
      const { weights } = source;
      const result = await model.classify(images, { protocol, seed, algorithm, weights, signal, onEvent });
      const truth = truthOf(model, images, options.data);
      for (const note of truth?.notes ?? []) terminal.note(note, 'yellow');
      const isKnown = truth?.classes.some((number) => number >= 0);
      const perClass = countClasses(model, result, isKnown ? truth?.classes : undefined);
      const known = perClass.filter((one) => one.correct !== null);
      const correct = known.length === 0 ? null : known.reduce((sum, one) => sum + one.correct!, 0);
      const counted = known.reduce((sum, one) => sum + one.images!, 0);
      const accuracy = correct === null ? null : correct / counted;
      const rows = [
        ...(accuracy === null ? [] : [['accuracy', percent(accuracy), `${thousands(correct!)} right`]]),
        [unitOf(options), thousands(images.count), `${options.data}, ${sizeOf(images)}`],
        ...(images.split ? [['split', images.split, '']] : []),
        ['protocol', result.protocol, ''],
        ['weights', result.weights, source.model],
      ];
      terminal.result(`${table(rows)}\n\n${classTable(perClass)}`, {
        model: source.model,
        data: options.data,
        split: images.split ?? null,
        images: images.count,
        crops: options.crops ?? null,
        protocol: result.protocol,
        weights: result.weights,
        accuracy,
        correct,
        perClass,
        labels: [...result.labels],
        notes: [...images.notes, ...(truth?.notes ?? [])],
      });
      return 0;
    });
  },
};

/** How often a class was found and, if the images have labels, how often it was there and was found there. */
interface ClassCount extends NamedClass {
  readonly found: number;
  readonly images: number | null;
  readonly correct: number | null;
}

/** @throws UsageError for a model without classes, before its images are read. */
function checkClasses({ config }: PixelCNN): void {
  if (config.condition?.classes !== undefined) return;
  throw new UsageError(`classify: the model must have classes, ${hasText({ config })}`, 'classify', {
    remedy: 'take a model that was trained with --classes',
  });
}

/** The classes that the labels of images name, and sentences about classes that the model lacks. */
interface Truth {
  /** -1 for an image whose class the model lacks. */
  readonly classes: Int32Array;
  readonly notes: readonly string[];
}

/** Returns the true classes of images; undefined if they have no labels. */
function truthOf(
  { config, classNames: names }: PixelCNN,
  { labels, classNames: theirs }: LoadedImages,
  data: string,
): Truth | undefined {
  if (labels === undefined) return undefined;
  const count = config.condition!.classes!;
  const numbers = new Map<number, number>();
  const lacking = new Map<number, number>();
  const classes = Int32Array.from(labels, (label) => {
    const number = numbers.get(label) ?? classOf(label, theirs, { count, names });
    numbers.set(label, number);
    if (number < 0) lacking.set(label, (lacking.get(label) ?? 0) + 1);
    return number;
  });
  const notes = Array.from(lacking, ([label, images]) => {
    const name = theirs?.[label] ?? String(label);
    return `${data}: ${thousands(images)} images of the class '${name}', which the model lacks, count neither as right nor as wrong`;
  });
  return { classes, notes };
}

/** Returns the model's number of a class of images, and -1 for one that the model lacks. */
function classOf(label: number, theirs: readonly string[] | undefined, classes: ModelClasses): number {
  try {
    return classNumbers('classify', [label], theirs, classes)[0]!;
  } catch (error) {
    if (error instanceof PixelCnnError) return -1;
    throw error;
  }
}

function countClasses(
  model: PixelCNN,
  { labels, classes }: Classification,
  truth: Int32Array | undefined,
): ClassCount[] {
  const found = new Uint32Array(classes);
  const images = new Uint32Array(classes);
  const correct = new Uint32Array(classes);
  for (const [n, label] of labels.entries()) {
    found[label]! += 1;
    if (truth === undefined || truth[n]! < 0) continue;
    images[truth[n]!]! += 1;
    if (truth[n] === label) correct[label]! += 1;
  }
  return Array.from({ length: classes }, (_, label) => ({
    ...namedClass(model, label),
    found: found[label]!,
    images: truth === undefined ? null : images[label]!,
    correct: truth === undefined ? null : correct[label]!,
  }));
}

/** Lists the classes that were found or that images have. */
function classTable(perClass: readonly ClassCount[]): string {
  const shown = perClass.filter(({ found, images }) => found + (images ?? 0) > 0);
  if (shown.every(({ images }) => images === null))
    return table([['class', 'found'], ...shown.map((one) => [classText(one), thousands(one.found)])], [1]);
  const rows = shown.map((one) => {
    const { images, correct, found } = one as ClassCount & { images: number; correct: number };
    const share = images === 0 ? '' : percent(correct / images);
    return [classText(one), thousands(images), thousands(correct), share, thousands(found)];
  });
  return table([['class', 'images', 'right', 'accuracy', 'found'], ...rows], [1, 2, 3, 4]);
}

function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}
