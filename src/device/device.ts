// Opens devices, allocates their memory and submits the programs that they run.
import { checkCopy, copyMark, thisCopy } from '../copies.js';
import { allEnded, check, PixelCnnError } from '../errors.js';
import { parseOptions, z } from '../options.js';
import { show } from '../show.js';
import { CallQueue, type DeviceLimits, limitsSchema } from './limits.js';
import { callNative, type NativeArena, type NativeDevice, type NativeProgram, native } from './native.js';
import { choosePrecision, type Precision, precisions } from './precision.js';
import { StepsInFlight } from './steps-in-flight.js';

const deviceOptions = z.strictObject({
  /** `auto` opens a GPU where one works, and the CPU otherwise. */
  backend: z.enum(['auto', 'cpu', 'cuda']).default('auto'),
  /** Which GPU; 0 for the CPU. */
  index: z.int().min(0).max(1023).default(0),
  /** CPU threads; by default all processors that this process may use (affinity, cgroup quota). */
  threads: z.int().min(1).max(1024).optional(),
  /**
   * How activations are stored and multiplied. `auto` is `f32` on the CPU, and on a GPU `bf16` from compute capability
   * 8.0 on and `f16` before.
   */
  precision: z.enum(['auto', ...precisions]).default('auto'),
  /** Limits on what one call may ask for and on how many may wait; each has a default. They do not apply to `train`. */
  limits: limitsSchema.prefault({}),
});
/**
 * The options of {@link openDevice}.
 *
 * @interface
 */
export type DeviceOptions = z.input<typeof deviceOptions>;

/** A backend that was tried before the one in use, and why it did not work. */
export interface RejectedBackend {
  readonly backend: string;
  readonly code: string;
  readonly reason: string;
}

/** Describes an opened device. */
export interface DeviceInfo {
  /** `cpu` or `cuda`. */
  readonly backend: string;
  /** Name of the processor. */
  readonly name: string;
  /**
   * Instruction set of the kernels in use, e.g. `avx512` or `sm_90`. On a CPU in `bf16` it is that of the float32 kernels,
   * to which those of bf16 belong.
   */
  readonly instructionSet: string;
  readonly threads: number;
  readonly precision: Precision;
  /** On a GPU the version of cuDNN in use and its path, or the reason why none is used. */
  readonly cudnn?: string;
  /** On a GPU `graphs`, or the reason why some or all programs run op by op instead of as CUDA graphs, which is slower. */
  readonly graphs?: string;
  /** The backends that `auto` tried before this one, and why they did not work. */
  readonly rejected: readonly RejectedBackend[];
}

/** @internal One run of a program, as {@link Device.submit} takes it. */
export interface ProgramRun {
  readonly program: NativeProgram;
  readonly inputs: ArrayBufferView[];
  readonly repeat: number;
  /** The names by which errors refer to the program's ops. */
  readonly labels: readonly string[];
}

/** A processor with its own executor thread. Open one with {@link openDevice}; dispose it when done. */
export class Device {
  /** @internal The public calls that are under way on the device and its models. */
  readonly calls: CallQueue;
  /** @internal Whether one packing of a filter serves both the forward and the backward convolution. */
  readonly packsOnce: boolean;
  /** @internal The version of the last bits of the kernels: kSumsVersion in native/cpu/kernels.h and cuda/launch.h. */
  readonly sums: number;
  readonly #handle: NativeDevice;
  readonly #info: DeviceInfo;
  readonly #steps = new StepsInFlight();
  #closing: Promise<void> | undefined;

  /** @internal Users call {@link openDevice}. */
  constructor(
    handle: NativeDevice,
    precision: DeviceOptions['precision'],
    limits: DeviceLimits,
    rejected: readonly RejectedBackend[],
  ) {
    this.#handle = handle;
    this.calls = new CallQueue(limits);
    const about = callNative(() => native().deviceInfo(handle));
    const { precisions: supported, cudnn, recording: _, packsOnce, sums, ...info } = about;
    this.packsOnce = packsOnce;
    this.sums = sums;
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

  /** Describes the device and, on a GPU, how it runs programs at the moment. */
  get info(): DeviceInfo {
    if (this.#info.backend === 'cpu') return this.#info;
    return { ...this.#info, graphs: callNative(() => native().deviceInfo(this.#handle)).recording };
  }

  /** @internal Identifies the copy of the package that made the device. */
  get [copyMark]() {
    return thisCopy;
  }

  /** @internal Whether `value` was made by this class; an object that only has its prototype was not. */
  static isDevice(value: unknown): value is Device {
    return typeof value === 'object' && value !== null && #handle in value;
  }

  /**
   * @internal The most pixels that the sampler draws as one batch. On a GPU they are more than those of a forward pass,
   * because a front has only few of an image's pixels. Aborts are still seen soon, because sample/chunks.ts limits the
   * fronts that run at once.
   */
  get pixelsPerSampledBatch(): number {
    return (this.#info.backend === 'cuda' ? 4096 : 16) * 28 * 28;
  }

  /** @internal The most pixels of a forward pass: enough to keep the device busy, few enough that an abort is seen soon. */
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

  /** @internal Allocates zeroed memory, for {@link Arena.allocate}. */
  async allocate(bytes: number): Promise<NativeArena> {
    this.checkOpen();
    return callNative(() => native().allocateArena(this.#handle, bytes));
  }

  /** @internal Returns the bytes of a packed filter. `filter` has the integers of FilterShape (native/op_shapes.h). */
  packedBytes(filter: Int32Array, direction: number): number {
    this.checkOpen();
    return callNative(() => native().packedBytes(this.#handle, filter, direction));
  }

  /**
   * @internal Runs programs back to back, as soon as {@link whenFree} allows it. Resolves with the outputs of the last one.
   */
  async submit(runs: readonly ProgramRun[], signal?: AbortSignal): Promise<ArrayBuffer[]> {
    return this.whenFree(async () => {
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
   * @internal Calls `work` as soon as fewer than two submissions are in flight. Calls that wait for that get their turn in
   * order. Rejects with the reason of a `signal` that is aborted while it waits.
   */
  async whenFree<R>(work: () => Promise<R>, signal?: AbortSignal): Promise<R> {
    if (!this.#steps.tryEnter()) await this.#steps.enter(signal);
    try {
      this.checkOpen();
      return await work();
    } finally {
      this.#steps.leave();
    }
  }

  /**
   * Lets the work that is running end, refuses queued work with ERR_DISPOSED and frees all memory of the device, models
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

/** @internal Throws unless `device` is an open Device of this copy of the package. */
export function checkDevice(caller: string, device: unknown): asserts device is Device {
  if (!Device.isDevice(device)) checkCopy(caller, 'device', device);
  check(Device.isDevice(device), 'ERR_INVALID_ARG_TYPE', () => {
    return `${caller}: device must come from openDevice, got ${show(device)}`;
  });
  device.checkOpen();
}

/** Replaces an op's number, by which native code refers to it, by its label: "op 3 (adam): …" becomes "adam: …". */
function withLabel(error: unknown, labels: readonly string[]): unknown {
  if (!(error instanceof PixelCnnError)) return error;
  const { code, message, remedy, cause } = error;
  const label = labels[Number(/^op (\d+) /.exec(message)?.[1])];
  if (label === undefined) return error;
  const named = message.replace(/^op \d+ \(\w+\)/, label);
  return new PixelCnnError(code, named, { cause, ...(remedy !== undefined && { remedy }) });
}

/**
 * Opens a device. By default it is a GPU where one works, and the CPU otherwise; `device.info.rejected` then says why the
 * GPU was passed over.
 *
 * @throws PixelCnnError ERR_NATIVE_LOAD if the package's binary cannot be loaded; ERR_BACKEND_UNAVAILABLE or ERR_NO_DEVICE
 * if the backend that was asked for does not work here; ERR_PRECISION for a precision that the device lacks.
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
