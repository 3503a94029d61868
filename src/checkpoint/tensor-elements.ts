// Defines the element types of safetensors and converts elements to float32.
import { endianness } from 'node:os';
import { PixelCnnError } from '../errors.js';

const BITS = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** Every dtype that the reference reader knows. */
export type SafetensorsDtype = keyof typeof BITS;

/** Bits per element of each dtype. */
export const DTYPE_BITS: ReadonlyMap<string, number> = new Map(Object.entries(BITS));

/** One tensor. `data` are its little-endian elements in row-major order, at any alignment. */
export interface SafetensorsTensor {
  dtype: SafetensorsDtype;
  shape: number[];
  data: Uint8Array;
}

const LITTLE_ENDIAN = endianness() === 'LE';

/** Copies the bytes into aligned memory, in the byte order of this machine. */
function alignedCopy(data: Uint8Array, elementBytes: number): ArrayBuffer {
  const copy = new Uint8Array(data.length);
  copy.set(data);
  if (!LITTLE_ENDIAN) {
    for (let i = 0; i < copy.length; i += elementBytes) copy.subarray(i, i + elementBytes).reverse();
  }
  return copy.buffer;
}

/** Returns the value of the 16 bits of an IEEE 754 binary16. */
function float16(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 0x3ff;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/**
 * Converts the elements of an F32, F64, F16 or BF16 tensor to a new Float32Array. F64 is rounded to nearest.
 * F32 is copied too, because a Float32Array cannot be a view at any alignment. `where` is appended to
 * messages.
 * @throws PixelCnnError CKPT_DTYPE for any other dtype.
 */
export function float32Of(tensor: SafetensorsTensor, where = ''): Float32Array {
  const { dtype, data } = tensor;
  switch (dtype) {
    case 'F32':
      return new Float32Array(alignedCopy(data, 4));
    case 'F64':
      return Float32Array.from(new Float64Array(alignedCopy(data, 8)));
    case 'F16':
      return Float32Array.from(new Uint16Array(alignedCopy(data, 2)), float16);
    case 'BF16':
      return new Float32Array(
        Uint32Array.from(new Uint16Array(alignedCopy(data, 2)), (bits) => bits << 16).buffer,
      );
    default: {
      const shape = `[${tensor.shape.join(', ')}]`;
      throw new PixelCnnError(
        'CKPT_DTYPE',
        `cannot read ${dtype} ${shape} as float32: F32, F64, F16 and BF16 only${where}`,
      );
    }
  }
}

/**
 * For each type, the bytes of an element (of a real or imaginary part for C64), and the bits of its two
 * highest bytes that are the exponent. They are all ones in NaN and infinity.
 */
const EXPONENTS = new Map<string, { step: number; mask: number }>([
  ['F16', { step: 2, mask: 0x7c00 }],
  ['BF16', { step: 2, mask: 0x7f80 }],
  ['F32', { step: 4, mask: 0x7f80 }],
  ['C64', { step: 4, mask: 0x7f80 }],
  ['F64', { step: 8, mask: 0x7ff0 }],
]);

/**
 * Checks the values of a tensor: a BOOL must be 0 or 1, and a float must be finite unless `allowNonfinite` is
 * set. F4, F6 and F8 are not checked. `where` is appended to messages.
 */
export function checkElements(tensor: SafetensorsTensor, allowNonfinite: boolean, where: string): void {
  const { dtype, data } = tensor;
  if (dtype === 'BOOL') {
    const wrong = data.findIndex((byte) => byte > 1);
    if (wrong >= 0)
      throw new PixelCnnError('CKPT_DTYPE', `element ${wrong} of BOOL data is ${data[wrong]}${where}`);
  }
  const exponent = EXPONENTS.get(dtype);
  if (allowNonfinite || exponent === undefined) return;
  const { step, mask } = exponent;
  // The two highest bytes of an element contain the whole exponent in all these types.
  for (let i = step - 2; i < data.length; i += step) {
    const high = (data[i] as number) | ((data[i + 1] as number) << 8);
    if ((high & mask) !== mask) continue;
    throw new PixelCnnError('CKPT_NONFINITE', `element ${(i - step + 2) / step} is NaN or infinite${where}`);
  }
}
