// Devices: opening one, its memory, and the steps that run on it.
import { copyMark, thisCopy } from '../copies.js';
import { allEnded, PixelCnnError } from '../errors.js';
import { parseOptions, z } from '../options.js';
import {
  blockBytes,
  blocksOf,
  type DType,
  describeTensor,
  type Precision,
  precisions,
  type Tensor,
} from '../program/tensor.js';
import { CallQueue, type DeviceLimits, limitsSchema } from './limits.js';
import { callNative, type NativeArena, type NativeDevice, type NativeProgram, native } from './native.js';
import { StepsInFlight } from './steps-in-flight.js';

const deviceOptions = z.strictObject({
  /** `cuda`, `cpu`, or the best that works here. */
  backend: z.enum(['auto', 'cpu', 'cuda']).default('auto'),
  /** Which GPU; 0 for the CPU. */
  index: z.int().min(0).max(1023).default(0),
  /** CPU threads; by default all processors that this process may use (affinity, cgroup quota). */
  threads: z.int().min(1).max(1024).optional(),
  /**
   * How activations are stored and multiplied: `f32` on the CPU; on a GPU `bf16` where it has it (compute capability
   * 8.0), else `f16`. `tf32` only when asked for.
   */
  precision: z.enum(['auto', ...precisions]).default('auto'),
  /** What one call may ask and how many may wait; every limit has a default. `train` has none. */
  limits: limitsSchema.prefault({}),
});
/**
 * What {@link openDevice} takes.
 *
 * @interface
 */
export type DeviceOptions = z.input<typeof deviceOptions>;

export interface RejectedBackend {
  readonly backend: string;
  readonly code: string;
  readonly reason: string;
}

export interface DeviceInfo {
  /** `cpu` or `cuda`. */
  readonly backend: string;
  /** Name of the processor. */
  readonly name: string;
  /** Instruction set of the kernels in use, e.g. `avx512` or `sm_90`. */
  readonly instructionSet: string;
  readonly threads: number;
  readonly precision: Precision;
  /** On a GPU the version of cuDNN in use and its path, or why there is none. */
  readonly cudnn?: string;
  /** On a GPU how programs are run again: `graphs`, or why some or all of them run op by op, which is slower. */
  readonly graphs?: string;
  /** Backends that `auto` tried before this one, and why they did not work. */
  readonly rejected: readonly RejectedBackend[];
}

/** @internal One program of a step. */
export interface ProgramRun {
  readonly program: NativeProgram;
  readonly inputs: ArrayBufferView[];
  readonly repeat: number;
  /** What errors call the program's ops. */
  readonly labels: readonly string[];
}

/** A processor with its own executor thread. Open one with {@link openDevice}; dispose it when done. */
export class Device {
  /** @internal Calls on the device and its models. */
  readonly calls: CallQueue;
  /** @internal Whether a packed filter serves the forward and the backward convolution. */
  readonly packsAlike: boolean;
  readonly #handle: NativeDevice;
  readonly #info: DeviceInfo;
  readonly #steps = new StepsInFlight();
  #closing: Promise<void> | undefined;

  /** @internal Use {@link openDevice}. */
  constructor(
    handle: NativeDevice,
    precision: DeviceOptions['precision'],
    limits: DeviceLimits,
    rejected: readonly RejectedBackend[],
  ) {
    this.#handle = handle;
    this.calls = new CallQueue(limits);
    const about = callNative(() => native().deviceInfo(handle));
    const { precisions: supported, cudnn, recording: _, packsAlike, ...info } = about;
    this.packsAlike = packsAlike;
    this.#info = {
      ...info,
      precision: choosePrecision(
        info,
        supported.map((number) => precisions[number]!),
        precision,
        rejected,
      ),
      ...(cudnn === '' ? {} : { cudnn }),
      rejected,
    };
  }

  /** What the device is, and how it runs programs by now. */
  get info(): DeviceInfo {
    if (this.#info.backend === 'cpu') return this.#info;
    return { ...this.#info, graphs: callNative(() => native().deviceInfo(this.#handle)).recording };
  }

  /** @internal Which copy of the package it is of. */
  get [copyMark]() {
    return thisCopy;
  }

  /** @internal Whether `value` is a device and not merely of its prototype. */
  static isDevice(value: unknown): value is Device {
    return typeof value === 'object' && value !== null && #handle in value;
  }

  /**
   * @internal Most pixels that the sampler draws as one batch. A GPU has more than for a forward pass, because a front
   * has few of them; aborts are still seen soon, because sample/chunks.ts decides how many fronts run at once.
   */
  get pixelsPerRun(): number {
    return (this.#info.backend === 'cuda' ? 4096 : 16) * 28 * 28;
  }

  /** @internal Pixels per forward pass: enough to keep the device busy, few enough that an abort is seen soon. */
  get pixelsPerForward(): number {
    return (this.#info.backend === 'cuda' ? 2048 : 16) * 28 * 28;
  }

  get disposed(): boolean {
    return this.#closing !== undefined;
  }

  /** @internal Throws ERR_DISPOSED after {@link dispose}. */
  checkOpen(): void {
    if (this.disposed) throw new PixelCnnError('ERR_DISPOSED', 'the device has been disposed');
  }

  /** @internal One block of zeroed memory. @throws PixelCnnError ERR_OUT_OF_MEMORY. */
  async allocate(bytes: number): Promise<Arena> {
    this.checkOpen();
    return new Arena(this, await callNative(() => native().allocateArena(this.#handle, bytes)), bytes);
  }

  /** @internal Bytes of packed weights for a masked convolution (ops.h: MaskedConv2dShape). */
  packedBytes(shape: Int32Array, direction: number): number {
    this.checkOpen();
    return callNative(() => native().packedBytes(this.#handle, shape, direction));
  }

  /** @internal Runs programs back to back as one step, as {@link inTurn} does; resolves with the outputs of the last. */
  async submit(runs: readonly ProgramRun[], signal?: AbortSignal): Promise<ArrayBuffer[]> {
    return this.inTurn(async () => {
      const results = await allEnded(
        runs.map(async ({ program, inputs, repeat, labels }) => {
          try {
            return await callNative(() => native().runProgram(program, inputs, repeat));
          } catch (error) {
            throw withLabel(error, labels);
          }
        }),
      );
      return results.at(-1) ?? [];
    }, signal);
  }

  /**
   * @internal Calls `work` at once where fewer than two steps are in flight, else in the order of the calls. A `signal`
   * ends the waiting.
   */
  async inTurn<R>(work: () => Promise<R>, signal?: AbortSignal): Promise<R> {
    if (!this.#steps.tryEnter()) await this.#steps.enter(signal);
    try {
      this.checkOpen();
      return await work();
    } finally {
      this.#steps.leave();
    }
  }

  /**
   * Lets the step in progress end, refuses queued work with ERR_DISPOSED and frees all memory of the device, models
   * included. A second call returns the same Promise.
   */
  dispose(): Promise<void> {
    this.#closing ??= callNative(() => native().closeDevice(this.#handle));
    this.#steps.wakeAll();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** Native code knows an op by its number: "op 3 (maskedConv2dForward): …" becomes "net.2 forward: …". */
function withLabel(error: unknown, labels: readonly string[]): unknown {
  if (!(error instanceof PixelCnnError)) return error;
  const { code, message, remedy, cause } = error;
  const label = labels[Number(/^op (\d+) /.exec(message)?.[1])];
  if (label === undefined) return error;
  const named = message.replace(/^op \d+ \(\w+\)/, label);
  return new PixelCnnError(code, named, { cause, ...(remedy !== undefined && { remedy }) });
}

/** @throws PixelCnnError ERR_PRECISION if the device does not compute in the precision asked for. */
function choosePrecision(
  { backend, name }: { backend: string; name: string },
  supported: readonly Precision[],
  asked: DeviceOptions['precision'],
  rejected: readonly RejectedBackend[],
): Precision {
  if (asked === undefined || asked === 'auto') {
    if (backend === 'cpu') return 'f32';
    return supported.includes('bf16') ? 'bf16' : 'f16';
  }
  if (supported.includes(asked)) return asked;
  const others = rejected.map((other) => `; ${other.backend} was passed over: ${other.reason}`).join('');
  throw new PixelCnnError(
    'ERR_PRECISION',
    `openDevice: ${name} does not compute in ${asked}, only in ${supported.join(', ')}${others}`,
    {
      remedy: 'leave precision out to have the best the device has; `npx pixelcnn doctor` tells of its GPUs',
    },
  );
}

/** @internal A block of device memory in which tensors are placed one after the other. */
export class Arena {
  readonly device: Device;
  readonly handle: NativeArena;
  readonly bytes: number;

  constructor(device: Device, handle: NativeArena, bytes: number) {
    this.device = device;
    this.handle = handle;
    this.bytes = bytes;
  }

  write(tensor: Tensor, data: ArrayBufferView): Promise<void> {
    this.device.checkOpen();
    return callNative(() => native().writeArena(this.handle, byteOffset(tensor), data));
  }

  read(tensor: Tensor): Promise<ArrayBuffer> {
    this.device.checkOpen();
    return callNative(() => native().readArena(this.handle, byteOffset(tensor), tensor.bytes));
  }

  release(): void {
    callNative(() => native().releaseArena(this.handle));
  }
}

function byteOffset(tensor: Tensor): number {
  return (tensor.placed?.block ?? 0) * blockBytes;
}

/** @internal Lays tensors out in an arena that is allocated once all of them are known. */
export class ArenaLayout {
  #blocks = 0;
  readonly #tensors: { tensor: Placeable; block: number }[] = [];

  /** Blocks laid out so far. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Describes the next tensor. It has a place after {@link allocate}. */
  add(name: string, shape: readonly number[], dtype: DType): Tensor {
    const tensor: Placeable = describeTensor(name, shape, dtype);
    this.#tensors.push({ tensor, block: this.#blocks });
    this.#blocks += blocksOf(tensor.bytes);
    return tensor;
  }

  /** One float32 tensor over everything laid out since block `from`, padding included. */
  span(name: string, from: number): Tensor {
    const tensor: Placeable = describeTensor(name, [((this.#blocks - from) * blockBytes) / 4], 'float32');
    this.#tensors.push({ tensor, block: from });
    return tensor;
  }

  /** Allocates the arena and places every tensor in it. */
  async allocate(device: Device): Promise<Arena> {
    const arena = await device.allocate(this.#blocks * blockBytes);
    for (const { tensor, block } of this.#tensors) tensor.placed = { arena, block };
    return arena;
  }
}

type Placeable = Omit<Tensor, 'placed'> & { placed?: { arena: Arena; block: number } };

/**
 * Opens a device. `auto` takes a GPU where one works and the CPU otherwise; `device.info.rejected` says why others
 * were passed over.
 *
 * @throws PixelCnnError ERR_NATIVE_LOAD, ERR_BACKEND_UNAVAILABLE, ERR_NO_DEVICE, ERR_PRECISION, or an argument error.
 */
export async function openDevice(options: DeviceOptions = {}): Promise<Device> {
  const { backend, index, threads, precision, limits } = parseOptions('openDevice', deviceOptions, options);
  const instructionSet = process.env.PIXELCNN_CPU_ISA ?? '';
  const rejected: RejectedBackend[] = [];
  const open = async (name: string, at: number) => {
    const handle = await callNative(() => native().openDevice(name, at, threads ?? 0, instructionSet));
    try {
      return new Device(handle, precision, limits, rejected);
    } catch (error) {
      await callNative(() => native().closeDevice(handle));
      throw error;
    }
  };
  if (backend !== 'auto') return open(backend, index);
  try {
    return await open('cuda', index);
  } catch (error) {
    if (!(error instanceof PixelCnnError) || error.code === 'ERR_NATIVE_LOAD') throw error;
    rejected.push({ backend: 'cuda', code: error.code, reason: error.message });
  }
  return open('cpu', 0);
}
