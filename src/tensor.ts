// Tensor descriptors: what a tensor is and where it lives. They own no memory; arenas do.
import type { Arena } from './device.js';

/** Bytes per element. `byte` is for opaque data, e.g. packed weights. */
export const dtypeBytes = { float32: 4, float64: 8, uint8: 1, int32: 4, uint32: 4, byte: 1 } as const;
export type DType = keyof typeof dtypeBytes;

/** Offsets are counted in blocks of this many bytes (native/program.h). */
export const blockBytes = 256;

export interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly bytes: number;
  /** Where the tensor lives for good; absent for one that a program's own memory plan places. */
  readonly placed?: { readonly arena: Arena; readonly block: number };
}

/** Number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** `bytes` rounded up to whole blocks, in blocks. */
export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / blockBytes);
}

/** Describes a tensor that a memory plan will place. */
export function describeTensor(name: string, shape: readonly number[], dtype: DType): Tensor {
  return { name, shape, dtype, bytes: elements(shape) * dtypeBytes[dtype] };
}

/** "64x28x28x1" for messages. */
export function shapeText(shape: readonly number[]): string {
  return shape.join('x');
}
