// Defines the limits that every kernel of cuda/ must keep, and the sentences for one that breaks them. A change
// that is meant to need more changes its line here, in the same commit.
import { architectures, blocksPerMultiprocessor } from './occupancy.mjs';
import { productOf } from './products.mjs';

/**
 * `registers` were measured with CUDA 13.0 and rounded up to the 8 that are allocated at once; a LargeTile of 16 bits must
 * not exceed 128. Pairs are for sm_90 and sm_80. `blocks` is how many blocks must fit on a multiprocessor at once, launch
 * bounds included. `perHmma` is the number of instructions per HMMA in a round of the main loop, mostly copies and their
 * addresses, 5% above what was measured.
 */
export const limits = [
  { file: 'accumulate.cu', kernel: /^accumulate_kernel</, registers: 32, blocks: [8, 8] },
  { file: 'add_condition.cu', kernel: /^add_condition_kernel</, registers: 32, blocks: [8, 8] },
  { file: 'adam.cu', kernel: /^adam_kernel$/, registers: 40, blocks: [6, 6] },
  { file: 'adam.cu', kernel: /^(norm|square_sums)_kernel$/, registers: 32, blocks: [8, 8] },
  { file: 'adam.cu', kernel: /^prepare_kernel$/, registers: 32 },
  { file: 'cast.cu', kernel: /^cast_kernel</, registers: 32, blocks: [8, 8] },
  { file: 'embedding.cu', kernel: /^embedding_(gradient_)?kernel</, registers: 32, blocks: [8, 8] },
  { file: 'gated_activation.cu', kernel: /^gate_(images|region|gradient)</, registers: 32, blocks: [8, 8] },
  { file: 'gated_activation.cu', kernel: /^conditional_gate(_gradient)?</, registers: 32, blocks: [8, 8] },
  { file: 'masked_conv2d.cu', kernel: /^(zero_where_inactive|round_bias)</, registers: 32, blocks: [8, 8] },
  { file: 'masked_conv2d_pack.cu', kernel: /^(un)?pack_filters</, registers: 32, blocks: [8, 8] },
  { file: 'masked_conv2d_bias_gradient.cu', kernel: /^sum_pixels</, registers: 32, blocks: [8, 8] },
  { file: 'quantise.cu', kernel: /^quantise_kernel</, registers: 32, blocks: [8, 8] },
  { file: 'random.cu', kernel: /^(binarise|random_uniform)_kernel$/, registers: 32, blocks: [8, 8] },
  { file: 'sample.cu', kernel: /^next_front_kernel$/, registers: 16 },
  { file: 'sum_pixels.cu', kernel: /^sum_pixels_kernel</, registers: 40, blocks: [6, 6] },
  { file: 'softmax_cross_entropy.cu', kernel: /^add_gradient_kernel$/, registers: 16, blocks: [8, 8] },
  { file: 'softmax_cross_entropy.cu', kernel: /^image_nats_kernel$/, registers: 48, blocks: [32, 32] },
  {
    file: 'softmax_cross_entropy.cu',
    kernel: /^cross_entropy_kernel<\w+, true,/,
    registers: 48,
    blocks: [5, 5],
  },
  {
    file: 'softmax_cross_entropy.cu',
    kernel: /^cross_entropy_kernel<\w+, false,/,
    registers: 72,
    blocks: [3, 3],
  },
  ...tiles(
    'masked_conv2d_forward.cu',
    'convolve(_and_add)?<PRECISION, forward, LargeTile, ImagePixels, vectors>',
    [3, 2],
    {
      f32: { registers: 168 },
      tf32: { registers: 128, perHmma: [7.8, 7.6] },
      '[bf]+16': { registers: 128, perHmma: [4.5, 4.2] },
    },
  ),
  ...tiles(
    'masked_conv2d_forward.cu',
    'convolve(_and_add)?<PRECISION, forward, LargeTile, ImagePixels, elements>',
    [3, 2],
    {
      f32: { registers: 168 },
      tf32: { registers: 136, perHmma: [12.4, 12.3] },
      '[bf]+16': { registers: 128, perHmma: [11.8, 11.2] },
    },
  ),
  ...tiles(
    'masked_conv2d_forward.cu',
    'convolve(_and_add)?<PRECISION, backward, LargeTile, ImagePixels, vectors>',
    [3, 2],
    {
      f32: { registers: 168 },
      tf32: { registers: 128, perHmma: [8.8, 8.3] },
      '[bf]+16': { registers: 128, perHmma: [5.4, 4.9] },
    },
  ),
  ...tiles(
    'masked_conv2d_forward.cu',
    'convolve(_and_add)?<PRECISION, backward, LargeTile, ImagePixels, elements>',
    [3, 2],
    {
      f32: { registers: 168 },
      tf32: { registers: 128, perHmma: [13.8, 13.7] },
      '[bf]+16': { registers: 128, perHmma: [13.4, 12.5] },
    },
  ),
  ...tiles(
    'masked_conv2d_region.cu',
    'convolve(_and_add)?<PRECISION, forward, LargeTile, (Front|Row)Pixels, vectors>',
    [3, 2],
    {
      f32: { registers: 168 },
      tf32: { registers: 128, perHmma: [7.8, 7.6] },
      '[bf]+16': { registers: 128, perHmma: [4.5, 4.2] },
    },
  ),
  ...tiles(
    'masked_conv2d_region.cu',
    'convolve(_and_add)?<PRECISION, forward, LargeTile, (Front|Row)Pixels, elements>',
    [3, 2],
    {
      f32: { registers: 168 },
      tf32: { registers: 144, perHmma: [12.5, 12.2] },
      '[bf]+16': { registers: 128, perHmma: [12.0, 11.2] },
    },
  ),
  ...tiles('masked_conv2d_gradient.cu', 'weight_gradient<PRECISION, LargeTile, vectors, vectors>', [4, 3], {
    f32: { registers: 128 },
    tf32: { registers: 128, perHmma: [8.5, 8.3] },
    '[bf]+16': { registers: 128, perHmma: [5.5, 5.6] },
  }),
  ...tiles('masked_conv2d_gradient.cu', 'weight_gradient<PRECISION, LargeTile, elements, elements>', [4, 3], {
    f32: { registers: 128 },
    tf32: { registers: 128, perHmma: [12.7, 12.5] },
    '[bf]+16': { registers: 128, perHmma: [10.1, 9.9] },
  }),
  ...tiles(
    'masked_conv2d_forward.cu',
    'convolve(_and_add)?<PRECISION, forward, SmallTile, ImagePixels, vectors>',
    [6, 4],
    {
      f32: { registers: 64 },
      tf32: { registers: 64, perHmma: [19.7, 18.7] },
      '[bf]+16': { registers: 64, perHmma: [11.1, 10.0] },
    },
  ),
  ...tiles(
    'masked_conv2d_forward.cu',
    'convolve(_and_add)?<PRECISION, forward, SmallTile, ImagePixels, elements>',
    [6, 4],
    {
      f32: { registers: 64 },
      tf32: { registers: 64, perHmma: [33.1, 32.3] },
      '[bf]+16': { registers: 64, perHmma: [39.2, 29.9] },
    },
  ),
  ...tiles(
    'masked_conv2d_forward.cu',
    'convolve(_and_add)?<PRECISION, backward, SmallTile, ImagePixels, vectors>',
    [5, 4],
    {
      f32: { registers: 64 },
      tf32: { registers: 64, perHmma: [26.6, 25.1] },
      '[bf]+16': { registers: 64, perHmma: [16.1, 15.0] },
    },
  ),
  ...tiles(
    'masked_conv2d_forward.cu',
    'convolve(_and_add)?<PRECISION, backward, SmallTile, ImagePixels, elements>',
    [5, 4],
    {
      f32: { registers: 64 },
      tf32: { registers: 64, perHmma: [38.3, 37.9] },
      '[bf]+16': { registers: 64, perHmma: [43.5, 36.0] },
    },
  ),
  ...tiles(
    'masked_conv2d_region.cu',
    'convolve(_and_add)?<PRECISION, forward, SmallTile, (Front|Row)Pixels, vectors>',
    [6, 4],
    {
      f32: { registers: 72 },
      tf32: { registers: 64, perHmma: [19.7, 18.7] },
      '[bf]+16': { registers: 64, perHmma: [11.1, 10.1] },
    },
  ),
  ...tiles(
    'masked_conv2d_region.cu',
    'convolve(_and_add)?<PRECISION, forward, SmallTile, FrontPixels, elements>',
    [6, 4],
    {
      f32: { registers: 72 },
      tf32: { registers: 64, perHmma: [33.1, 31.6] },
      '[bf]+16': { registers: 64, perHmma: [32.4, 30.3] },
    },
  ),
  ...tiles(
    'masked_conv2d_region.cu',
    'convolve(_and_add)?<PRECISION, forward, SmallTile, RowPixels, elements>',
    [6, 4],
    {
      f32: { registers: 72 },
      tf32: { registers: 64, perHmma: [33.1, 31.6] },
      '[bf]+16': { registers: 64, perHmma: [34.8, 29.3] },
    },
  ),
  ...tiles('masked_conv2d_gradient.cu', 'weight_gradient<PRECISION, SmallTile, vectors, vectors>', [5, 4], {
    f32: { registers: 64 },
    tf32: { registers: 64, perHmma: [22.4, 22.4] },
    '[bf]+16': { registers: 64, perHmma: [14.5, 13.4] },
  }),
  ...tiles('masked_conv2d_gradient.cu', 'weight_gradient<PRECISION, SmallTile, elements, elements>', [5, 4], {
    f32: { registers: 64 },
    tf32: { registers: 64, perHmma: [35.6, 34.6] },
    '[bf]+16': { registers: 64, perHmma: [44.1, 31.0] },
  }),
  ...tiles('sample.cu', 'sample_front_kernel<PRECISION, vectors>', [3, 2], {
    f32: { registers: 128 },
    tf32: { registers: 112, perHmma: [14.3, 14.2] },
    '[bf]+16': { registers: 104, perHmma: [8.0, 7.8] },
  }),
  ...tiles('sample.cu', 'sample_front_kernel<PRECISION, elements>', [3, 2], {
    f32: { registers: 128 },
    tf32: { registers: 120, perHmma: [20.5, 20.3] },
    '[bf]+16': { registers: 104, perHmma: [25.5, 24.4] },
  }),
  ...tiles('masked_conv2d_gradient.cu', 'weight_gradient<PRECISION, LargeTile, elements, vectors>', [4, 3], {
    f32: { registers: 128 },
    tf32: { registers: 128, perHmma: [12.3, 12.0] },
    '[bf]+16': { registers: 128, perHmma: [8.7, 8.3] },
  }),
  ...tiles('masked_conv2d_gradient.cu', 'weight_gradient<PRECISION, SmallTile, elements, vectors>', [5, 4], {
    f32: { registers: 64 },
    tf32: { registers: 64, perHmma: [33.4, 32.7] },
    '[bf]+16': { registers: 64, perHmma: [35.3, 23.9] },
  }),
];

/** Makes the lines of one kernel in all precisions. */
function tiles(file, name, blocks, precisions) {
  return Object.entries(precisions).map(([precision, values]) => ({
    file,
    kernel: new RegExp(`^${name.replace('PRECISION', precision)}$`),
    blocks,
    ...values,
  }));
}

/** Adds the values to a kernel that follow from its source and from its numbers. */
export function withProduct(measured, shapes, architecture) {
  const product = productOf(measured.kernel, shapes);
  const shared = measured.staticShared + (product?.shared ?? 0);
  const blocks =
    measured.threads === undefined
      ? undefined // it has no launch bounds: one thread, see its LAUNCH
      : blocksPerMultiprocessor(architecture, { ...measured, shared });
  return {
    ...measured,
    product,
    shared,
    blocks,
    perHmma: measured.HMMA > 0 ? measured.loop / measured.HMMA : undefined,
  };
}

/** Returns a sentence for every limit that the kernels of one file and architecture break. */
export function complaintsOf(file, kernels, architecture) {
  const lines = limits.filter((limit) => limit.file === file);
  const complaints = kernels.flatMap((kernel) => {
    const found = lines.filter((line) => line.kernel.test(kernel.kernel));
    const broken =
      found.length === 1
        ? [
            ...wasteOf(kernel),
            ...productComplaints(kernel),
            ...limitComplaints(kernel, found[0], architecture),
          ]
        : [`${found.length} lines of scripts/kernel-gates/limits.mjs are for it, there must be 1`];
    return broken.map((what) => `sm_${architecture} ${file} ${kernel.kernel}: ${what}.`);
  });
  const stale = lines.filter((line) => !kernels.some(({ kernel }) => line.kernel.test(kernel)));
  return [
    ...complaints,
    ...stale.map(({ kernel }) => `sm_${architecture} ${file}: no kernel is ${kernel}, which has limits.`),
  ];
}

/** Returns a sentence for each property that no kernel may have. */
function wasteOf(kernel) {
  const names = {
    spill: 'bytes of registers are spilled to memory',
    stack: 'bytes of stack frame',
    LDL: 'loads from local memory (LDL)',
    STL: 'stores to local memory (STL)',
    LD: 'loads from generic addresses (LD)',
    ST: 'stores to generic addresses (ST)',
  };
  return Object.entries(names)
    .filter(([key]) => kernel[key] > 0)
    .map(([key, name]) => `${kernel[key]} ${name}, 0 are allowed`);
}

function productComplaints({ product, ...kernel }) {
  if (product === undefined)
    return kernel.HMMA > 0
      ? [`${kernel.HMMA} HMMA, but scripts/kernel-gates/products.mjs does not know it`]
      : [];
  const names = {
    threads: 'threads in its launch bounds',
    HMMA: 'HMMA',
    LDSM: 'LDSM',
    vectorCopies: 'LDGSTS of 16 bytes',
    copiesThroughL1: 'LDGSTS of 16 bytes through L1',
  };
  return Object.entries(names)
    .filter(([key]) => kernel[key] !== product[key])
    .map(([key, name]) => `${kernel[key]} ${name}, its source implies ${product[key]}`);
}

function limitComplaints(kernel, limit, architecture) {
  const of = (pair) => pair?.[architectures.indexOf(architecture)];
  const [blocks, perHmma] = [of(limit.blocks), of(limit.perHmma)];
  const complaints = [];
  if (kernel.registers > limit.registers)
    complaints.push(`${kernel.registers} registers, at most ${limit.registers} are allowed`);
  if (blocks !== undefined && !(kernel.blocks >= blocks))
    complaints.push(
      `${kernel.blocks ?? 'no known number of'} blocks per multiprocessor, at least ${blocks} are wanted ` +
        `(${kernel.registers} registers, ${kernel.threads} threads, ${kernel.shared} bytes of shared memory)`,
    );
  if (kernel.HMMA > 0 && !(kernel.loop > 0 && kernel.perHmma <= perHmma))
    complaints.push(
      kernel.loop > 0
        ? `${kernel.perHmma.toFixed(1)} instructions for each HMMA of its main loop, at most ${perHmma} are allowed`
        : 'its HMMA are in no loop',
    );
  return complaints;
}
