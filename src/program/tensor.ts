// Defines tensors, which only describe data: its shape, its element type and its place in memory that others own.
import type { NativeArena } from '../device/native.js';
import type { Precision } from '../device/precision.js';

/** Bytes per element by element type. `byte` is for opaque data, e.g. packed weights. */
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

/** The element type of activations by precision. */
export const activationType = {
  f32: 'float32',
  tf32: 'float32',
  bf16: 'bfloat16',
  f16: 'float16',
} as const satisfies Record<Precision, DType>;

/** The bytes of a block, the unit in which places in an arena are counted (native/program.h). */
export const blockBytes = 256;

/** The device memory that a tensor may lie in: what a program needs to know of an {@link Arena}. */
export interface TensorMemory {
  readonly device: object;
  readonly handle: NativeArena;
}

export interface Tensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly bytes: number;
  /** The tensor's fixed place. Absent for a tensor that is placed by the memory plan of its program. */
  readonly placed?: { readonly arena: TensorMemory; readonly block: number };
}

/** Returns the number of elements of a shape. */
export function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Returns how many blocks hold so many bytes. */
export function blocksOf(bytes: number): number {
  return Math.ceil(bytes / blockBytes);
}

/** Describes a tensor that a memory plan will place. */
export function describeTensor(name: string, shape: readonly number[], dtype: DType): Tensor {
  return { name, shape, dtype, bytes: elements(shape) * dtypeBytes[dtype] };
}

/** Writes a shape for messages, e.g. "64x28x28x1". */
export function shapeText(shape: readonly number[]): string {
  return shape.join('x');
}
