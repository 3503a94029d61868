// Defines `pixelcnn sample`, which draws images and writes them as one grid and, if asked for, as separate files.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type ImageBatch, sliceImages } from '../../data/image-batch.js';
import { gridLayout, imageGrid } from '../../data/image-grid.js';
import { encodePng } from '../../data/png.js';
import { weightsOption } from '../../models/weights.js';
import { z } from '../../options.js';
import type { PixelCNN } from '../../pixelcnn.js';
import type { SampleStreamOptions } from '../../sample/options.js';
import { randomSeed } from '../../sample/sampler.js';
import type { Command } from '../command.js';
import { deviceOptions, interruptSignal, modelOption, outputOptions, withModel } from '../common.js';
import {
  checkDrawable,
  classText,
  guidanceOption,
  labelOption,
  type NamedClass,
  namedClass,
  none,
  readLabels,
} from '../conditions.js';
import { UsageError } from '../failure.js';
import { gridScale, writeGrid, writeOutput } from '../output-files.js';
import { duration } from '../terminal.js';

const side = z.int().min(1).max(4096).optional();
const schema = z.strictObject({
  model: modelOption,
  count: z
    .int()
    .min(1)
    .max(65536)
    .optional()
    .describe('images to draw (default 64); of a model of classes: of each class (default 8)'),
  label: labelOption.describe(
    'class to draw, by name or number, a row of the grid; default: all classes; none: no class',
  ),
  guidance: guidanceOption,
  out: z.string().min(1).default('samples.png').describe('file for the grid of all images'),
  separate: z.string().min(1).optional().describe('folder for one PNG per image as well'),
  height: side.describe('pixels; default: that of the training images'),
  width: side.describe('pixels; default: that of the training images'),
  seed: z.int().min(0).optional().describe('same seed, same images; default: random, and printed'),
  firstIndex: z
    .int()
    .min(0)
    .max(2 ** 31)
    .default(0)
    .describe('index of the first image: image i of a seed is always the same'),
  temperature: z
    .number()
    .min(0)
    .max(1e6)
    .default(1)
    .describe('divides the logits; 0 takes the most likely value'),
  weights: weightsOption,
  columns: z
    .int()
    .min(1)
    .max(65536)
    .optional()
    .describe('images in a row of the grid; default: a square or, of classes, a row for each'),
  scale: gridScale,
  ...deviceOptions,
  ...outputOptions,
});

type Options = z.output<typeof schema>;

export const sampleCommand: Command<typeof schema> = {
  name: 'sample',
  summary: 'Draws images from a model and writes them as a PNG grid.',
  schema,
  positional: 'model',
  synonyms: { labels: 'label' },
  examples: [
    'pixelcnn sample digits --label 7 --out sevens.png',
    'pixelcnn sample runs/demo --count 16 --seed 1 --out samples.png',
    'pixelcnn sample model.safetensors --height 64 --width 64 --separate images/',
    'pixelcnn sample fashion --label Sneaker --label Bag --count 10 --guidance 2',
  ],

  run(options) {
    const { seed, firstIndex, temperature, guidance, scale, out, separate } = options;
    const signal = interruptSignal();
    return withModel('sample', options, async (model, terminal, source) => {
      checkDrawable('sample', model, options);
      const rows = rowsOf(model, options);
      const perClass = options.count ?? 8;
      const count = rows === undefined ? (options.count ?? 64) : rows.length * perClass;
      const classes = rows?.flatMap((row) => Array.from({ length: perClass }, () => row));
      const labels = classes?.map(({ label }) => label) ?? (options.label && none);
      const began = performance.now();
      const { levels } = model.config;
      const { columns = rows && perClass } = options;
      const grid = { scale, levels, ...(columns !== undefined && { columns }) };
      const { height = model.imageSize?.height, width = model.imageSize?.width } = options;
      const size = { ...(height !== undefined && { height }), ...(width !== undefined && { width }) };
      // Drawing may take hours, so a grid that cannot be written is refused before. model.sampleStream()
      // refuses a missing size.
      if (height !== undefined && width !== undefined)
        gridLayout({ count, height, width, channels: model.config.channels }, grid);
      // The seed is printed, so a random one is chosen here.
      const shared = {
        ...size,
        seed: seed ?? randomSeed(),
        temperature,
        guidance,
        weights: source.weights,
        signal,
      };
      const images = await draw(model, shared, { firstIndex, count, labels }, (share) => {
        terminal.live(`sampling ${count} images  ${Math.floor(100 * share)} %`);
      });
      const seconds = (performance.now() - began) / 1000;
      if (separate !== undefined) {
        await mkdir(separate, { recursive: true });
        for (let i = 0; i < count; i += 1) {
          const name = fileName(firstIndex + i, classes?.[i]);
          const image = imageGrid(sliceImages(images, i, i + 1), { padding: 0, levels });
          await writeOutput(join(separate, name), encodePng(image));
        }
      }
      await writeGrid(out, images, grid);
      if (images.values === 'levels') terminal.note(shownLevels(levels), 'dim');
      const text = [
        `${out}: ${count} images of ${images.height}x${images.width}`,
        ...(rows ? [`${perClass} of each class`] : []),
        ...(labels === none ? ['of no class'] : []),
        ...(guidance === 1 ? [] : [`guidance ${guidance}`]),
        `seed ${shared.seed}`,
        `${source.weights} weights`,
        duration(seconds),
      ].join(', ');
      const { channels } = images;
      const order = columns === perClass ? 'rows' : 'classes, in this order';
      terminal.result(rows ? `${text}\n${order}: ${rows.map(classText).join(', ')}` : text, {
        ...source,
        out,
        separate,
        count,
        countPerClass: rows ? perClass : null,
        classes: rows ?? null,
        guidance,
        height: images.height,
        width: images.width,
        channels,
        seed: shared.seed,
        firstIndex,
        temperature,
        seconds,
      });
      return 0;
    });
  },
};

/** The most classes that are drawn if none are asked for. */
const mostRows = 64;

/**
 * Returns the classes to draw, a row of the grid for each; undefined for images without a class.
 * @throws UsageError for classes that the model does not have, and for more than the grid has rows for.
 */
function rowsOf(
  model: PixelCNN,
  { label: texts, guidance }: Pick<Options, 'label' | 'guidance'>,
): readonly NamedClass[] | undefined {
  if (texts !== undefined) {
    const asked = readLabels('sample', model, texts);
    return asked === none ? undefined : asked;
  }
  const classes = model.config.condition?.classes;
  if (classes === undefined || guidance === 0) return undefined;
  if (classes > mostRows) {
    const message = `sample: the model has ${classes} classes, and the grid has a row for each, ${mostRows} at most`;
    throw new UsageError(message, 'sample', { remedy: 'say with --label which classes to draw' });
  }
  return Array.from({ length: classes }, (_, label) => namedClass(model, label));
}

/** Makes the name of an image's own file, e.g. `00007-shoe.png`, without characters that file names should not have. */
function fileName(index: number, drawn: NamedClass | undefined): string {
  const number = String(index).padStart(5, '0');
  if (drawn === undefined) return `${number}.png`;
  const name = classText(drawn)
    .replace(/[^\p{L}\p{N}_-]+/gu, '-')
    .slice(0, 60);
  return `${number}-${name}.png`;
}

/** Explains how levels are shown in a PNG. */
function shownLevels(levels: number): string {
  return `levels 0 to ${levels - 1} are shown spread over black to white; model.sample() gives the levels themselves`;
}

/** Images per call. Each frame copies all images of the call, so more of them would cost time. */
const perCall = 64;

/** Draws the images in parts of `perCall` and reports after each step the share that is done, from 0 to 1. */
async function draw(
  model: PixelCNN,
  shared: SampleStreamOptions,
  range: {
    readonly firstIndex: number;
    readonly count: number;
    /** The class of each image, or that of all. */
    readonly labels: readonly number[] | typeof none | undefined;
  },
  report: (share: number) => void,
): Promise<ImageBatch> {
  const { firstIndex, count, labels } = range;
  const parts: ImageBatch[] = [];
  for (let first = 0; first < count; first += perCall) {
    const part = Math.min(perCall, count - first);
    const theirs = typeof labels === 'object' ? labels.slice(first, first + part) : labels;
    const frames = model.sampleStream({
      ...shared,
      count: part,
      firstIndex: firstIndex + first,
      ...(theirs !== undefined && { labels: theirs }),
    });
    let next = await frames.next();
    for (; !next.done; next = await frames.next()) {
      report((first + (part * next.value.step) / next.value.steps) / count);
    }
    parts.push(next.value);
  }
  // The caller knows the labels of all images; those of the first part would not fit.
  const { labels: _, ...about } = parts[0]!;
  return { ...about, data: Buffer.concat(parts.map(({ data }) => data)), count };
}
