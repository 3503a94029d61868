// Allocates blocks of device memory and lays tensors out in them.
import type { Device } from '../device/device.js';
import { callNative, type NativeArena, native } from '../device/native.js';
import {
  blockBytes,
  blocksOf,
  type DType,
  describeTensor,
  type Tensor,
  type TensorMemory,
} from './tensor.js';

/** A block of device memory that holds tensors one after the other, until it is released. */
export class Arena implements TensorMemory {
  readonly device: Device;
  readonly handle: NativeArena;
  readonly bytes: number;

  private constructor(device: Device, handle: NativeArena, bytes: number) {
    this.device = device;
    this.handle = handle;
    this.bytes = bytes;
  }

  /** Allocates zeroed memory. @throws PixelCnnError ERR_OUT_OF_MEMORY. */
  static async allocate(device: Device, bytes: number): Promise<Arena> {
    return new Arena(device, await device.allocate(bytes), bytes);
  }

  /** Writes `data` to a tensor of this arena. It is copied before the call returns. */
  write(tensor: Tensor, data: ArrayBufferView): Promise<void> {
    this.device.checkOpen();
    return callNative(() => native().writeArena(this.handle, byteOffset(tensor), data));
  }

  /** Reads a tensor of this arena. */
  read(tensor: Tensor): Promise<ArrayBuffer> {
    this.device.checkOpen();
    return callNative(() => native().readArena(this.handle, byteOffset(tensor), tensor.bytes));
  }

  /** Frees the memory once the work that uses it has ended. */
  release(): void {
    callNative(() => native().releaseArena(this.handle));
  }
}

function byteOffset(tensor: Tensor): number {
  return (tensor.placed?.block ?? 0) * blockBytes;
}

/** A tensor whose place is still to be decided. */
type Placeable = Omit<Tensor, 'placed'> & { placed?: { arena: TensorMemory; block: number } };

/** Collects tensors, then allocates one arena for all of them and gives each its place. */
export class ArenaLayout {
  #blocks = 0;
  readonly #tensors: { tensor: Placeable; block: number }[] = [];

  /** The number of blocks that are laid out so far. */
  get blocks(): number {
    return this.#blocks;
  }

  /** Describes the next tensor. It has a place only after {@link allocate}. */
  add(name: string, shape: readonly number[], dtype: DType): Tensor {
    const tensor: Placeable = describeTensor(name, shape, dtype);
    this.#tensors.push({ tensor, block: this.#blocks });
    this.#blocks += blocksOf(tensor.bytes);
    return tensor;
  }

  /** Describes one float32 tensor that covers everything from block `from` to the last one, padding included. */
  span(name: string, from: number): Tensor {
    const tensor: Placeable = describeTensor(name, [((this.#blocks - from) * blockBytes) / 4], 'float32');
    this.#tensors.push({ tensor, block: from });
    return tensor;
  }

  /** Allocates the arena and gives every tensor its place in it. */
  async allocate(device: Device): Promise<Arena> {
    const arena = await Arena.allocate(device, this.#blocks * blockBytes);
    for (const { tensor, block } of this.#tensors) tensor.placed = { arena, block };
    return arena;
  }
}
