// Tensor descriptors: what a tensor is and where it lives. They own no memory; arenas do.
import type { Arena } from '../device/device.js';

/** Bytes per element. `byte` is for opaque data, e.g. packed weights. */
export const dtypeBytes = {
  float32: 4,
  float64: 8,
  bfloat16: 2,
  float16: 2,
  uint8: 1,
  int32: 4,
  uint32: 4,
  byte: 1,
} as const;
export type DType = keyof typeof dtypeBytes;

/**
 * How activations are stored and multiplied; sums, weights and the optimizer are float32 always. `tf32` stores float32
 * and rounds the factors of convolutions to 10 bits. In the order of native/ops.h.
 */
export type Precision = 'f32' | 'tf32' | 'bf16' | 'f16';
export const precisions = ['f32', 'tf32', 'bf16', 'f16'] as const satisfies readonly Precision[];

/** Element type of activations in a precision. */
export const activationType = { f32: 'float32', tf32: 'float32', bf16: 'bfloat16', f16: 'float16' } as const;

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
