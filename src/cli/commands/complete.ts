// Defines `pixelcnn complete`, which draws the unknown part of images, several times for each image.
import { type ImageBatch, selectImages, sliceImages } from '../../data/image-batch.js';
import { gridLayout } from '../../data/image-grid.js';
import { asBytes, levelOfByte } from '../../data/levels.js';
import { checkImages } from '../../models/check-images.js';
import { classNumbers } from '../../models/class-labels.js';
import { weightsOption } from '../../models/weights.js';
import { z } from '../../options.js';
import type { PixelCNN } from '../../pixelcnn.js';
import { randomSeed } from '../../sample/sampler.js';
import type { Command } from '../command.js';
import { deviceOptions, interruptSignal, modelOption, outputOptions, withModel } from '../common.js';
import {
  checkDrawable,
  checkLabelled,
  classText,
  guidanceOption,
  labelOption,
  type NamedClass,
  namedClass,
  none,
  readLabels,
} from '../conditions.js';
import { UsageError } from '../failure.js';
import { imageOptions, imagesText, noteOtherSize, readImages, valuesFor } from '../image-options.js';
import { readMask } from '../mask.js';
import { gridScale, writeGrid } from '../output-files.js';
import { duration } from '../terminal.js';

const sides = ['top', 'bottom', 'left', 'right'] as const;
// In this command the number of images to read is called `count`, not `limit`.
const { limit: _, ...readingOptions } = imageOptions;
const schema = z.strictObject({
  model: modelOption,
  images: z.string().min(1).describe(imagesText),
  count: z.int().min(1).max(65536).default(8).describe('images to complete, the first of them'),
  label: labelOption.describe(
    'class of all images, or of each in turn, by name or number; default: as the images are labelled; none: no class',
  ),
  guidance: guidanceOption,
  completions: z.int().min(1).max(1024).default(4).describe('completions of each image'),
  keep: z
    .enum(sides)
    .default('top')
    .describe(
      'the side that is known: top, bottom, left or right; what is known below a pixel is kept, but does not inform it',
    ),
  fraction: z.number().min(0).max(1).default(0.5).describe('how much of it is known'),
  mask: z
    .string()
    .min(1)
    .optional()
    .describe(
      'image of the same size, white where known or, if it has transparency, opaque where known; replaces --keep and --fraction',
    ),
  out: z
    .string()
    .min(1)
    .default('completions.png')
    .describe('file for the grid: a row per image, with original, known part and completions'),
  ...readingOptions,
  seed: z.int().min(0).optional().describe('same seed, same completions; default: random, and printed'),
  temperature: z
    .number()
    .min(0)
    .max(1e6)
    .default(1)
    .describe('divides the logits; 0 takes the most likely value'),
  weights: weightsOption,
  scale: gridScale,
  ...deviceOptions,
  ...outputOptions,
});
type Options = z.output<typeof schema>;

/** The byte that shows unknown pixels in the grid. */
const hidden = 96;

export const completeCommand: Command<typeof schema> = {
  name: 'complete',
  summary: 'Completes images of which a part is known, and writes a PNG grid.',
  schema,
  positional: 'model',
  synonyms: { limit: 'count', labels: 'label' },
  examples: [
    'pixelcnn complete runs/demo --images mnist:test --count 10 --keep top',
    'pixelcnn complete model.safetensors --images photo.png --mask known.png --completions 8',
    'pixelcnn complete digits --images mnist:test --count 4 --label 3',
  ],

  run(options) {
    const { completions, temperature, guidance, out, scale } = options;
    const signal = interruptSignal();
    return withModel('complete', options, async (model, terminal, source) => {
      checkDrawable('complete', model, options);
      const asked = options.label && readLabels('complete', model, options.label);
      const wanted = { ...options, limit: options.count, values: valuesFor(model, options) };
      const read = await readImages(options.images, wanted, terminal, signal);
      noteOtherSize(options.images, read, model, terminal);
      const { levels } = model.config;
      // The check comes before the rounding: images of levels that were read as bytes would be rounded to black and
      // pass it.
      const given = checkImages('complete: images', read, model.internals());
      const originals = quantised(sliceImages(given, 0, Math.min(options.count, read.count)), levels);
      const { count, height, width, channels } = originals;
      const classes = classesOfImages(model, options, asked, originals);
      const known =
        options.mask === undefined
          ? sideMask(options, height, width)
          : await readMask(options.mask, originals, options, terminal);
      const grid = { columns: completions + 2, scale };
      // Completing may take hours, so a grid that cannot be written is refused before.
      gridLayout({ count: count * grid.columns, height, width, channels }, grid);
      const seed = options.seed ?? randomSeed();
      const began = performance.now();
      terminal.live(`completing ${count} images`);
      const repeated = Array.from({ length: count * completions }, (_, i) => Math.floor(i / completions));
      const completed = await model.complete({
        images: selectImages(originals, repeated),
        known: repeat(known, count * completions),
        seed,
        temperature,
        guidance,
        ...(classes !== undefined && {
          labels: classes === none ? none : repeated.map((i) => classes[i]!.label),
        }),
        weights: source.weights,
        signal,
      });
      const seconds = (performance.now() - began) / 1000;
      const drawn = rowsOf(shown(originals, levels), known, shown(completed, levels), completions);
      await writeGrid(out, drawn, grid);
      const rows = typeof classes === 'object' ? classes : null;
      const text = [
        `${out}: ${count} images, ${completions} completions of each`,
        ...(guidance === 1 ? [] : [`guidance ${guidance}`]),
        `seed ${seed}`,
        `${source.weights} weights`,
        duration(seconds),
      ].join(', ');
      const about = {
        ...source,
        out,
        count,
        completions,
        classes: rows,
        guidance,
        height,
        width,
        channels,
        seed,
        temperature,
        seconds,
        notes: read.notes,
      };
      terminal.result(rows ? `${text}\nrows: ${rows.map(classText).join(', ')}` : text, about);
      return 0;
    });
  },
};

/**
 * Returns the class to complete each image by: those of --label or else of the images. Undefined for a model without
 * classes, and for completions without any.
 * @throws UsageError for images without labels, and for another number of classes than of images.
 */
function classesOfImages(
  model: PixelCNN,
  { guidance, images: data }: Pick<Options, 'guidance' | 'images'>,
  asked: readonly NamedClass[] | typeof none | undefined,
  images: ImageBatch,
): readonly NamedClass[] | typeof none | undefined {
  if (asked === none) return none;
  if (asked !== undefined) {
    if (asked.length === 1) return new Array<NamedClass>(images.count).fill(asked[0]!);
    if (asked.length === images.count) return asked;
    const message = `complete: --label is given for ${asked.length} images, and there are ${images.count}`;
    throw new UsageError(message, 'complete', { remedy: 'give one class for all images, or one for each' });
  }
  const count = model.config.condition?.classes;
  if (count === undefined || guidance === 0) return undefined;
  checkLabelled('complete', data, model, images, 'say with --label which class they are, by name or number');
  const classes = { count, names: model.classNames };
  const labels = classNumbers(`complete: --images ${data}`, images.labels!, images.classNames, classes);
  return [...labels].map((label) => namedClass(model, label));
}

/** Rounds every byte to a level of the model, so that known and drawn pixels look alike. */
function quantised(images: ImageBatch, levels: number): ImageBatch {
  if (images.values === 'levels') return images;
  const level = images.data.map((byte) => levelOfByte(byte, levels));
  return { ...images, data: asBytes(level, 'levels', levels) };
}

/** Converts levels to bytes from black to white, for the grid. */
function shown(images: ImageBatch, levels: number): ImageBatch {
  return { ...images, data: asBytes(images.data, images.values, levels), values: 'bytes' };
}

/** Returns 1 for each pixel of an image that is known by --keep and --fraction, else 0 (height, width). */
function sideMask({ keep, fraction }: Options, height: number, width: number): Uint8Array {
  const rows = Math.round(fraction * height);
  const columns = Math.round(fraction * width);
  return Uint8Array.from({ length: height * width }, (_, pixel) => {
    const [y, x] = [Math.floor(pixel / width), pixel % width];
    const inside = {
      top: y < rows,
      bottom: y >= height - rows,
      left: x < columns,
      right: x >= width - columns,
    };
    return inside[keep] ? 1 : 0;
  });
}

function repeat(bytes: Uint8Array, times: number): Uint8Array {
  const all = new Uint8Array(bytes.length * times);
  for (let i = 0; i < times; i += 1) all.set(bytes, i * bytes.length);
  return all;
}

/** Makes a row for each image: the original, its known part, and its completions. */
function rowsOf(
  originals: ImageBatch,
  known: Uint8Array,
  completed: ImageBatch,
  completions: number,
): ImageBatch {
  const { count, height, width, channels } = originals;
  const size = height * width * channels;
  const data = new Uint8Array(count * (completions + 2) * size);
  for (let i = 0; i < count; i += 1) {
    const original = originals.data.subarray(i * size, (i + 1) * size);
    const row = i * (completions + 2) * size;
    data.set(original, row);
    data.set(
      original.map((byte, at) => (known[Math.floor(at / channels)] ? byte : hidden)),
      row + size,
    );
    data.set(completed.data.subarray(i * completions * size, (i + 1) * completions * size), row + 2 * size);
  }
  return { data, count: count * (completions + 2), height, width, channels };
}
