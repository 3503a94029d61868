// Defines what several commands share: options of device, model and output, and opening device and model.
import { pretrainedNames } from '../checkpoint/pretrained.js';
import { type Device, openDevice } from '../device/device.js';
import { widestLimits } from '../device/limits.js';
import { type Precision, precisions } from '../device/precision.js';
import { chooseWeights, type Weights } from '../models/weights.js';
import { z } from '../options.js';
import { PixelCNN } from '../pixelcnn.js';
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
    .describe(
      'of activations; auto: f32 on the CPU, where bf16 must be asked for; bf16 or f16 on a GPU, where tf32 and f32 must',
    ),
};

export const modelOption = z
  .string()
  .min(1)
  .describe(
    `model or checkpoint, a safetensors file; the folder of a run: its EMA weights if it has them; or a pretrained model: ${pretrainedNames.join(', ')}`,
  );

export interface DeviceFlags {
  readonly device: 'auto' | 'cpu' | 'cuda';
  readonly gpu: number;
  readonly threads?: number | undefined;
  readonly precision: 'auto' | Precision;
}

/** Opens the device, and notes on stderr which it is and why others were rejected. */
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
  const precision = info.precision === 'f32' ? '' : `, ${info.precision}`;
  const rest =
    info.backend === 'cpu' ? `${info.threads} threads${precision}` : `${info.precision}, cuDNN ${info.cudnn}`;
  return `device ${info.backend}: ${info.name}, ${info.instructionSet}, ${rest}${rejected}`;
}

export interface ModelFlags extends DeviceFlags {
  readonly model: string;
  readonly weights?: Weights | undefined;
  readonly json: boolean;
  readonly quiet: boolean;
}

/** The file that a model is loaded from, and the weights that are used. */
export interface ModelSource {
  readonly model: string;
  readonly weights: Weights;
}

/**
 * Opens device and model, notes which file and weights are used, runs `body`, and closes both even if it
 * fails.
 */
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

/**
 * Returns a signal that SIGINT, SIGTERM and SIGHUP abort, for commands that have nothing to save when they end
 * early.
 */
export function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(name, () => controller.abort(new Interrupted(name)));
  }
  return controller.signal;
}

/** The user, or the system, ended the command by a signal. */
export class Interrupted extends Error {
  readonly signalName: NodeJS.Signals;

  constructor(signalName: NodeJS.Signals) {
    super(`interrupted by ${signalName}`);
    this.signalName = signalName;
  }
}
