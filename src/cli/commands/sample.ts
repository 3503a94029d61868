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
import { gridScale, writeGrid, writeOutput } from '../output-files.js';
import { duration } from '../terminal.js';

const side = z.int().min(1).max(4096).optional();
const schema = z.strictObject({
  model: modelOption,
  count: z.int().min(1).max(65536).default(64).describe('images to draw'),
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
  columns: z.int().min(1).max(65536).optional().describe('images in a row of the grid'),
  scale: gridScale,
  ...deviceOptions,
  ...outputOptions,
});

export const sampleCommand: Command<typeof schema> = {
  name: 'sample',
  summary: 'Draws images from a model and writes them as a PNG grid.',
  schema,
  positional: 'model',
  examples: [
    'pixelcnn sample runs/demo --count 16 --seed 1 --out samples.png',
    'pixelcnn sample model.safetensors --height 64 --width 64 --separate images/',
  ],

  run(options) {
    const { count, seed, firstIndex, temperature, columns, scale, out, separate } = options;
    const signal = interruptSignal();
    return withModel('sample', options, async (model, terminal, source) => {
      const began = performance.now();
      const { levels } = model.config;
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
        weights: source.weights,
        signal,
      };
      const images = await draw(model, shared, { firstIndex, count }, (share) => {
        terminal.live(`sampling ${count} images  ${Math.floor(100 * share)} %`);
      });
      const seconds = (performance.now() - began) / 1000;
      if (separate !== undefined) {
        await mkdir(separate, { recursive: true });
        for (let i = 0; i < count; i += 1) {
          const name = `${String(firstIndex + i).padStart(5, '0')}.png`;
          const image = imageGrid(sliceImages(images, i, i + 1), { padding: 0, levels });
          await writeOutput(join(separate, name), encodePng(image));
        }
      }
      await writeGrid(out, images, grid);
      if (images.values === 'levels') terminal.note(shownLevels(levels), 'dim');
      const text = `${out}: ${count} images of ${images.height}x${images.width}, seed ${shared.seed}, ${source.weights} weights, ${duration(seconds)}`;
      const { channels } = images;
      terminal.result(text, {
        ...source,
        out,
        separate,
        count,
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
  range: { readonly firstIndex: number; readonly count: number },
  report: (share: number) => void,
): Promise<ImageBatch> {
  const { firstIndex, count } = range;
  const parts: ImageBatch[] = [];
  for (let first = 0; first < count; first += perCall) {
    const part = Math.min(perCall, count - first);
    const frames = model.sampleStream({ ...shared, count: part, firstIndex: firstIndex + first });
    let next = await frames.next();
    for (; !next.done; next = await frames.next()) {
      report((first + (part * next.value.step) / next.value.steps) / count);
    }
    parts.push(next.value);
  }
  return { ...parts[0]!, data: Buffer.concat(parts.map(({ data }) => data)), count };
}
