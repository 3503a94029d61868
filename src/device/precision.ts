// Defines the precisions in which a device may compute, and chooses the one that it uses.
import { PixelCnnError } from '../errors.js';

/**
 * How activations are stored and multiplied. Sums, weights and the optimizer are always float32. `tf32` stores float32
 * and rounds the factors of convolutions to 10 bits. A CPU computes in `f32` and, where its instruction set has a dot
 * product for it, in `bf16`.
 */
export type Precision = 'f32' | 'tf32' | 'bf16' | 'f16';
/** All precisions, in the order of their numbers in native/op_shapes.h. */
export const precisions = ['f32', 'tf32', 'bf16', 'f16'] as const satisfies readonly Precision[];

const remedies = {
  cpu:
    'leave precision out to compute in f32; on a CPU bf16 needs AVX-512 BF16 (AMD since Zen 4, Intel since Sapphire ' +
    'Rapids) or, on Linux, an arm64 processor with BF16, and PIXELCNN_CPU_ISA must not choose another instruction ' +
    'set; tf32 and f16 need a GPU, of which `npx pixelcnn doctor` tells',
  cuda: 'leave precision out to have the best the device has; `npx pixelcnn doctor` tells of its GPUs',
};

/**
 * Returns the precision that was asked for. For `auto` it is `f32` on the CPU, whose users have `bf16` only if they ask
 * for it, and on a GPU `bf16` where it is supported, else `f16`.
 * @throws PixelCnnError ERR_PRECISION if the device does not compute in the precision that was asked for.
 */
export function choosePrecision(
  {
    backend,
    name,
    instructionSet,
  }: { readonly backend: string; readonly name: string; readonly instructionSet: string },
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
    `openDevice: ${name} with ${instructionSet} does not compute in ${asked}, only in ${supported.join(', ')}${others}`,
    { remedy: backend === 'cpu' ? remedies.cpu : remedies.cuda },
  );
}
