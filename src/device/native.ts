// Loads the native addon, and declares the types of its functions.
import { PixelCnnError } from '../errors.js';
import { isError, isPromise } from '../realm.js';
import { loadBinary } from './native-binary.js';

declare const tag: unique symbol;
/** Opaque handles of native objects, whose memory native code manages. */
export type NativeDevice = { readonly [tag]: 'Device' };
export type NativeArena = { readonly [tag]: 'Arena' };
export type NativeProgram = { readonly [tag]: 'Program' };

/** A field of an op. A list has items, each with the same fields. */
export type OpField =
  | { readonly name: string; readonly kind: 'number' }
  | { readonly name: string; readonly kind: 'tensor'; readonly optional: boolean }
  | { readonly name: string; readonly kind: 'list'; readonly fields: readonly OpField[] };

/** The functions that native/addon.cc exports. All of them throw errors that carry a `code`. */
export interface Native {
  readonly abi: number;
  /** The ops in the order of their ids, with their fields in the order of the command buffer. */
  readonly opTable: readonly { readonly name: string; readonly fields: readonly OpField[] }[];
  /** The names of the numbers of a filter, as {@link packedBytes} takes them. */
  readonly filterFields: readonly string[];
  openDevice(backend: string, index: number, threads: number, instructionSet: string): Promise<NativeDevice>;
  deviceInfo(device: NativeDevice): {
    backend: string;
    name: string;
    instructionSet: string;
    threads: number;
    cudnn: string;
    /** On a GPU "graphs", or the reason why programs run op by op instead of as CUDA graphs. */
    recording: string;
    /** The numbers of the precisions that it computes in (Precision in native/op_shapes.h). */
    precisions: number[];
    /** Whether a packed filter is the same for both directions (native/backend.h). */
    packsOnce: boolean;
    /** The version of the last bits of the kernels (kSumsVersion in native/cpu/kernels.h and cuda/launch.h). */
    sums: number;
  };
  /** Describes the cuDNN of this machine. `message` is empty if it can be used. */
  cudnnReport(): Record<'version' | 'path' | 'code' | 'message' | 'remedy' | 'attempts', string>;
  closeDevice(device: NativeDevice): Promise<void>;
  packedBytes(device: NativeDevice, filter: Int32Array, direction: number): number;
  allocateArena(device: NativeDevice, bytes: number): Promise<NativeArena>;
  releaseArena(arena: NativeArena): void;
  writeArena(arena: NativeArena, byteOffset: number, bytes: ArrayBufferView): Promise<void>;
  readArena(arena: NativeArena, byteOffset: number, byteLength: number): Promise<ArrayBuffer>;
  createProgram(
    commands: Int32Array,
    arenas: NativeArena[],
    inputs: Int32Array,
    outputs: Int32Array,
  ): NativeProgram;
  releaseProgram(program: NativeProgram): void;
  runProgram(program: NativeProgram, inputs: ArrayBufferView[], repeat: number): Promise<ArrayBuffer[]>;
  traceProgram(
    program: NativeProgram,
    inputs: ArrayBufferView[],
  ): Promise<{ values: Float64Array; opByOp: string }>;
  /** Counts, while a program is prepared, its convolutions (`of`) and those whose algorithm is chosen (`made`). */
  programChoices(program: NativeProgram): { made: number; of: number };
  /** Returns the bytes of scratch memory that the largest op of a program needs; 0 before its first run. */
  programWorkspace(program: NativeProgram): number;
}

/** The version of the addon's interface that this code needs: kAbi of native/addon.cc. */
const abi = 10;
let loaded: Native | undefined;

/**
 * Returns the addon. It is loaded on first use, so that importing the package never throws.
 * @throws PixelCnnError ERR_NATIVE_LOAD if no binary fits this machine.
 */
export function native(): Native {
  if (loaded !== undefined) return loaded;
  const addon = loadBinary() as Native;
  if (addon.abi !== abi) {
    throw new PixelCnnError(
      'ERR_NATIVE_LOAD',
      `the native part has ABI ${addon.abi}, this package needs ${abi}`,
      {
        remedy: 'build it again: `npx pixelcnn build`, in a clone `npm run setup`',
      },
    );
  }
  loaded = addon;
  return addon;
}

/** Turns an error of the addon into a PixelCnnError and returns other errors as they are. */
export function fromNative(error: unknown): unknown {
  if (error instanceof PixelCnnError || !isError(error)) return error;
  const { code, remedy } = error as Error & { code?: unknown; remedy?: unknown };
  if (typeof code !== 'string') return error;
  return new PixelCnnError(
    code,
    error.message,
    typeof remedy === 'string' ? { remedy, cause: error } : { cause: error },
  );
}

/** Calls `body` and turns errors of the addon, thrown or rejected, into PixelCnnErrors. */
export function callNative<T>(body: () => T): T {
  try {
    const result = body();
    if (isPromise(result)) {
      return result.catch((error: unknown) => {
        throw fromNative(error);
      }) as T;
    }
    return result;
  } catch (error) {
    throw fromNative(error);
  }
}
