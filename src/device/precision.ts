// Defines the precisions in which a device may compute, and chooses the one that it uses.
import { PixelCnnError } from '../errors.js';

/**
 * How activations are stored and multiplied. Sums, weights and the optimizer are always float32. `tf32` stores float32
 * and rounds the factors of convolutions to 10 bits.
 */
export type Precision = 'f32' | 'tf32' | 'bf16' | 'f16';
/** All precisions, in the order of their numbers in native/op_shapes.h. */
export const precisions = ['f32', 'tf32', 'bf16', 'f16'] as const satisfies readonly Precision[];

/**
 * Returns the precision that was asked for or, for `auto`, the best that the device has: `f32` on the CPU; on a GPU
 * `bf16` where it is supported, else `f16`.
 * @throws PixelCnnError ERR_PRECISION if the device does not compute in the precision that was asked for.
 */
export function choosePrecision(
  { backend, name }: { readonly backend: string; readonly name: string },
  supported: readonly Precision[],
  asked: Precision | 'auto' | undefined,
  rejected: readonly { readonly backend: string; readonly reason: string }[],
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
