// Computes the power of two by which gradients of activations are multiplied in float16 (native/op_shapes.h).
import type { Precision } from '../../src/device/precision.js';

/** The largest power of two that is at most the number of pixels, in float16; 1 in the other precisions. */
export function gradientScale(precision: Precision, pixels: number): number {
  return precision === 'f16' ? 2 ** Math.floor(Math.log2(pixels)) : 1;
}
