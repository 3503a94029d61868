// What several commands share: options of the device and of the output, opening the device, reading images.
import { stat } from 'node:fs/promises';
import type { ImageBatch } from '../data/image-batch.js';
import { type ImageSpec, parseImageSpec } from '../data/image-spec.js';
import { loadImages } from '../data/load-images.js';
import { type Device, openDevice } from '../device.js';
import { widestLimits } from '../limits.js';
import { PixelCNN } from '../models/pixelcnn.js';
import { chooseWeights, type Weights } from '../models/weights.js';
import { z } from '../options.js';
import { type Precision, precisions } from '../tensor.js';
import { findModelFile } from './model-source.js';
import { Terminal } from './terminal.js';

export const outputOptions = {
  json: z.boolean().default(false).describe('machine-readable: JSON on stdout, only errors on stderr'),
  quiet: z.boolean().default(false).describe('print results and errors only'),
};

export const deviceOptions = {
  device: z
    .enum(['auto', 'cpu', 'cuda'])
    .default('auto')
    .describe('auto takes a GPU where one works, else the CPU; or cpu, cuda'),
  gpu: z.int().min(0).max(1023).default(0).describe('which GPU, where there are several'),
  threads: z
    .int()
    .min(1)
    .max(1024)
    .optional()
    .describe('CPU threads; default: all that this process may use'),
  precision: z
    .enum(['auto', ...precisions])
    .default('auto')
    .describe('of activations: f32 on the CPU; on a GPU bf16 or f16, tf32 and f32 when asked for'),
};

export const imageOptions = {
  limit: z.int().min(1).max(1e9).optional().describe('use the first N images only'),
  channels: z
    .union([z.literal(1), z.literal(3), z.literal(4)])
    .optional()
    .describe('convert images to 1 (grey), 3 (RGB) or 4 (RGBA) channels; default: as they are'),
};

export const modelOption = z
  .string()
  .min(1)
  .describe(
    'model or checkpoint, a safetensors file; or the folder of a run: its EMA weights if it has them',
  );
export const imagesText =
  'mnist, mnist:test, fashion-mnist, an IDX or CIFAR-10 file, a PNG, or a folder of them; ' +
  ':test after a folder takes its test split';

export interface DeviceFlags {
  readonly device: 'auto' | 'cpu' | 'cuda';
  readonly gpu: number;
  readonly threads?: number | undefined;
  readonly precision: 'auto' | Precision;
}

/** Opens the device and says on stderr which, and why not another. */
export async function openNamedDevice(options: DeviceFlags, terminal: Terminal): Promise<Device> {
  const { device: backend, gpu, threads, precision } = options;
  const index = backend === 'cpu' ? 0 : gpu;
  const device = await openDevice({
    backend,
    index,
    precision,
    limits: widestLimits,
    ...(threads !== undefined && { threads }),
  });
  terminal.note(deviceLine(device), 'dim');
  return device;
}

function deviceLine({ info }: Device): string {
  const rejected = info.rejected.map(({ backend, reason }) => `, not ${backend}: ${reason}`).join('');
  const rest = info.backend === 'cpu' ? `${info.threads} threads` : `${info.precision}, cuDNN ${info.cudnn}`;
  return `device ${info.backend}: ${info.name}, ${info.instructionSet}, ${rest}${rejected}`;
}

export interface ModelFlags extends DeviceFlags {
  readonly model: string;
  readonly weights?: Weights | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
}

/** Which file a model is from and which of its weights are used. */
export interface ModelSource {
  readonly model: string;
  readonly weights: Weights;
}

/** Opens device and model, says which file and weights are used, runs `body`, and closes both whatever happens. */
export async function withModel<T>(
  command: string,
  options: ModelFlags,
  body: (model: PixelCNN, terminal: Terminal, source: ModelSource) => Promise<T>,
): Promise<T> {
  const terminal = new Terminal(options);
  const file = await findModelFile(options.model, options.weights, terminal);
  const device = await openNamedDevice(options, terminal);
  try {
    const model = await PixelCNN.load(device, file);
    const weights = chooseWeights(command, model.internals(), options.weights);
    terminal.note(`model: ${file}, ${weights} weights`, 'dim');
    for (const note of model.notes) terminal.note(note, 'dim');
    return await body(model, terminal, { model: file, weights });
  } finally {
    terminal.clear();
    await device.dispose();
  }
}

/** Images by the text of a flag. */
export async function readImages(
  text: string,
  options: { readonly limit?: number | undefined; readonly channels?: 1 | 3 | 4 | undefined } = {},
): Promise<ImageBatch> {
  const parsed = parseImageSpec(text);
  const { limit, channels } = options;
  const rest = {
    ...(limit !== undefined && { limit }),
    ...(channels !== undefined && { channels }),
  };
  if ('name' in parsed.source) return loadImages({ ...parsed.source, split: parsed.split, ...rest });
  return loadImages({ ...(await pathAndSplit(text)), ...rest });
}

/** `folder:test` is the test split of the folder, unless a file has that very name. */
async function pathAndSplit(text: string): Promise<Pick<ImageSpec, 'path' | 'split'>> {
  const match = /^(.+):(train|test)$/.exec(text);
  if (match === null || (await stat(text).catch(() => undefined)) !== undefined) return { path: text };
  return { path: match[1]!, split: match[2] as 'train' | 'test' };
}

/** Ends when the process is asked to: for work without a state worth saving. */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => controller.abort(new Interrupted(name)));
  }
  return controller.signal;
}

/** The person ended the command. */
export class Interrupted extends Error {
  readonly signalName: NodeJS.Signals;

  constructor(signalName: NodeJS.Signals) {
    super(`interrupted by ${signalName}`);
    this.signalName = signalName;
  }
}
