// Estimates what cuDNN's engines need on a GPU in place of our convolutions.
//
// Their source is not known. They are modelled as products with wgmma that read their operands through L2 tap by tap, as
// ours do, and that multiply the dead taps of the centre row as well: 28 taps of a 7x7 filter instead of 25.
import { blocksOf, elementBytes, vectorElements } from './gpu-model.mjs';

/** Rows or columns that read the other operand together. We assume blocks of 256, two of them in a cluster. */
const sharedLines = 512;

/** Describes a convolution, forward or of the input gradient. Channels of images are padded to a 16-byte vector. */
export function convolve({ pixels, slots, c, k, reluOutput = false, add = false }) {
  const padded = blocksOf(c, vectorElements) * vectorElements;
  const line = slots * padded * elementBytes;
  const written = pixels * k * elementBytes * (1 + Number(reluOutput) + Number(add)); // or read beside it
  return {
    l2Bytes: (pixels * blocksOf(k, sharedLines) + k * blocksOf(pixels, sharedLines)) * line + written,
    hbmBytes: pixels * c * elementBytes + written,
    matmulFlops: 2 * pixels * slots * padded * k,
  };
}

/** Describes a weight gradient as writing one filter of sums, since its inner steps are not known. */
export function weightGradient({ pixels, slots, c, k }) {
  const rows = slots * c;
  return {
    parts: 1,
    demand: {
      l2Bytes: pixels * elementBytes * (rows * blocksOf(k, sharedLines) + k * blocksOf(rows, sharedLines)),
      hbmBytes: pixels * elementBytes * (c + k),
      matmulFlops: 2 * pixels * rows * k,
    },
  };
}
