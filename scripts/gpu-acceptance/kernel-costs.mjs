// Counts what those CUDA kernels need that multiply no matrices: bytes, instructions, waiting.
//
// Each function describes the launch of a kernel of cuda/ for a shape; gpu-model.mjs turns that into time.
// product-costs.mjs has the kernels that multiply matrices.
import { fullTaps } from '../../dist/ops/window.js';
import { blocksOf, elementBytes, vectorElements } from './gpu-model.mjs';

/** Sizes that the kernels and their launchers share the work out by, with the names that they have in cuda/. */
export const sizes = {
  kLeastPixels: 64, // of a part of a weight gradient
  kSumWarps: 8, // of a block that adds up pixels
  kSumChannels: 32, // of such a block
  kPasses: 8, // of a block over rows of logits
  kHeld: 8, // logits of a lane
  kCrossEntropyThreads: 256,
  kFlatThreads: 256,
  kPartPixels: 1024, // of an image, whose sum is a part
  kAcross: 8, // threads of a block across the channels, when it sums up pixels
  kDown: 32,
  kIndices: 256, // of a table's rows, that a warp looks at before it waits
  kLoads: 8, // of the gradients of such a row
  kLogitsStride: 256 + 4, // of the sampler's logits in shared memory
  kTileSide: 32, // taps and channels of a tile of weights
  kMultiprocessors: 132, // that the parts of a gradient are made for
  kLargeBlocks: 4, // of such a multiprocessor, in a weight gradient
  kSmallBlocks: 2,
};

/** Counts the taps that have a weight, and those of the packed filter (cuda/masked_conv2d.h). */
export function tapsOf({ window, channelGroups }) {
  const { columns, above, ownRow } = window;
  const centre = ownRow === 'centre' || (ownRow === 'left' && channelGroups > 1) ? 1 : 0;
  return { live: fullTaps(window) + centre, slots: (above + 1) * columns };
}

export const floatBytes = 4;
/** The bytes that the smallest load or store moves. */
const sectorBytes = 32;

const flatThreads = sizes.kFlatThreads;
const { kTileSide } = sizes;

/** Packs the weights of all layers, in tiles of 32 x 32 (taps, channels) that are transposed on the way. */
export function pack(layers) {
  const sum = (of) => layers.reduce((total, layer) => total + of(layer), 0);
  return {
    blocks: sum(({ k, c, slots }) => k * Math.min(64, blocksOf(c, kTileSide) * blocksOf(slots, kTileSide))),
    threads: flatThreads,
    // The taps of an output and channel lie together, but begin anywhere in a sector.
    l2Bytes: sum(
      ({ k, c, taps, slots }) =>
        k * c * ((blocksOf(taps * floatBytes, sectorBytes) + 1) * sectorBytes + slots * elementBytes),
    ),
    l2Trips: kTileSide / (flatThreads / kTileSide), // rows of a tile that a thread reads, one after the other
  };
}

/** Adds up the parts of a weight gradient, 16 loads at a time, and unpacks the sum. */
export function unpack({ taps, slots, c, k, weights, parts }) {
  const down = Math.min(64, blocksOf(weights * c, 4 * flatThreads));
  const loads = Math.floor(parts / 16) + Math.min(parts % 16, 2);
  return {
    blocks: k * down,
    threads: flatThreads,
    l2Bytes: parts * slots * c * k * floatBytes + weights * c * k * (weights > 1 ? sectorBytes : floatBytes),
    l2Trips: blocksOf(taps * c, down * flatThreads) * loads,
  };
}

/** Counts the parts that the pixels are split into for at most `blocks` blocks (Parts in cuda/gradient_parts.h). */
export function partsOf(pixels, blocks, blocksPerPart) {
  const most = Math.max(1, Math.floor(blocks / blocksPerPart));
  const size = blocksOf(blocksOf(pixels, most), sizes.kLeastPixels) * sizes.kLeastPixels;
  return { size, count: blocksOf(pixels, size) };
}

/**
 * Describes the two rounds of a bias gradient that is not a row of our weight gradient's product: a warp reads one pixel of
 * 32 channels at a time, and 8 of them before it waits.
 */
export function biasGradient({ pixels, k }) {
  const { kSumWarps: warps, kSumChannels: channels } = sizes;
  const unrolled = 8;
  const across = blocksOf(k, channels);
  const parts = partsOf(pixels, 4 * sizes.kMultiprocessors, across);
  const round = (count) => blocksOf(blocksOf(count, warps), unrolled);
  const grid = (count) => ({ blocks: count * across, threads: 32 * warps });
  return [
    { ...grid(parts.count), hbmBytes: pixels * k * elementBytes, hbmTrips: round(parts.size) },
    { ...grid(1), l2Bytes: parts.count * k * floatBytes, l2Trips: round(parts.count) },
  ];
}

/** Reads a row of logits for every pixel and channel with the fewest lanes that hold it, and writes its gradient there. */
export function crossEntropy({ images, rowsPerImage, levels }) {
  const { kHeld, kPasses, kCrossEntropyThreads } = sizes;
  const lanes = Math.max(1, 2 ** Math.ceil(Math.log2(levels / kHeld)));
  const rowsAtOnce = kCrossEntropyThreads / lanes; // of a block
  const blocks = images * blocksOf(rowsPerImage, kPasses * rowsAtOnce);
  const passes = (images * rowsPerImage) / rowsAtOnce / blocks; // the last block of an image has fewer
  return {
    blocks,
    threads: kCrossEntropyThreads,
    instructions: passes * 466, // 370 in the loop, the others in five rounds of shuffles for maximum and sum
    hbmBytes: 2 * images * rowsPerImage * levels * elementBytes,
  };
}

/** Adds up to three tensors of activations, one vector of 16 bytes per thread. */
export function accumulate({ count, operands }) {
  return {
    blocks: blocksOf(count, vectorElements * flatThreads),
    threads: flatThreads,
    hbmBytes: (operands + 1) * count * elementBytes,
    hbmTrips: 1,
  };
}

/** Adds a condition, which has `rows` rows, to the activations of `pixels` pixels. */
export function addCondition({ pixels, channels, rows }) {
  const vectors = blocksOf(channels, vectorElements);
  return {
    blocks: blocksOf(pixels * vectors, flatThreads),
    threads: flatThreads,
    hbmBytes: (2 * pixels + rows) * channels * elementBytes,
    l2Bytes: pixels * channels * elementBytes,
    hbmTrips: 1,
  };
}

/** Adds up the pixels of every image, in two rounds if an image has several parts. A thread reads 4 before it waits. */
export function sumPixels({ n, pixels, c }) {
  const { kPartPixels, kAcross, kDown } = sizes;
  const parts = blocksOf(pixels, kPartPixels);
  const grid = (images, bytes) => ({
    blocks: images * blocksOf(c * bytes, kAcross * 16),
    threads: kAcross * kDown,
  });
  const trips = (of) => blocksOf(blocksOf(of, kDown), 4);
  const first = {
    ...grid(n * parts, elementBytes),
    hbmBytes: n * pixels * c * elementBytes,
    hbmTrips: trips(Math.min(pixels, kPartPixels)),
  };
  const second = { ...grid(n, floatBytes), l2Bytes: n * parts * c * floatBytes, l2Trips: trips(parts) };
  return parts === 1 ? [first] : [first, second];
}

/** Looks up a row of a table for each index. */
export function embedding({ count, size }) {
  return {
    blocks: blocksOf(count * blocksOf(size, vectorElements), flatThreads),
    threads: flatThreads,
    l2Bytes: count * size * (floatBytes + elementBytes),
    l2Trips: 2, // the index, then the row
  };
}

/**
 * Adds up the gradients of each row of a table. A warp finds the row among all indices, some at a time, and then reads the
 * gradients of the row, fewer at a time. Indices are taken to be even.
 */
export function embeddingBackward({ count, rows, size }) {
  const { kIndices, kLoads } = sizes;
  const warps = rows * blocksOf(size, 32);
  const rounds = blocksOf(count, kIndices);
  return {
    blocks: blocksOf(warps, flatThreads / 32),
    threads: flatThreads,
    l2Bytes: warps * count * floatBytes + count * size * elementBytes,
    l2Trips: rounds * (1 + blocksOf(Math.min(count, kIndices) / rows, kLoads)),
  };
}

/** Rounds `count` values to the element type. */
export function cast({ count }) {
  return {
    blocks: blocksOf(count, vectorElements * flatThreads),
    threads: flatThreads,
    hbmBytes: count * (floatBytes + elementBytes),
    hbmTrips: 1,
  };
}

/**
 * Computes `count` gates: two halves in, one value out. A thread reads the halves of its gates with one access. A condition
 * has halves for `conditions` gates, or there is none.
 */
export function gatedActivation({ count, conditions = 0 }) {
  const instructions = gateInstructions[conditions > 0 ? 'conditional' : 'plain'].forward;
  return gates({ count, conditions, tensors: 2 + 1, instructions });
}

/** Computes the gradients of both halves of `count` gates from these and the gradient of the result. */
export function gatedActivationBackward({ count, conditions = 0 }) {
  const instructions = gateInstructions[conditions > 0 ? 'conditional' : 'plain'].backward;
  return gates({ count, conditions, tensors: 2 + 1 + 2, instructions });
}

/** Instructions of a thread, counted in the machine code of cuda/gated_activation.cu (sm_90, nvcc 13.0, bf16). */
const gateInstructions = {
  plain: { forward: 192, backward: 238, region: 160, roundOfRegion: 181 },
  conditional: { forward: 205, backward: 249, region: 336 },
};

function gates({ count, conditions, tensors, instructions }) {
  return {
    blocks: blocksOf(count, (vectorElements / 2) * flatThreads),
    threads: flatThreads,
    instructions,
    hbmBytes: (tensors * count + 2 * conditions) * elementBytes,
    l2Bytes: conditions > 0 ? 2 * count * elementBytes : 0,
    hbmTrips: 1,
  };
}

/** Computes the gates of the pixels of one of the sampler's regions, one warp for each pixel. */
export function gatedRegion({ pixels, channels }) {
  const rounds = blocksOf(channels, 32 * (vectorElements / 2));
  const { region, roundOfRegion } = gateInstructions.plain;
  return {
    blocks: blocksOf(pixels, flatThreads / 32),
    threads: flatThreads,
    instructions: region + rounds * roundOfRegion,
    l2Bytes: 3 * pixels * channels * elementBytes,
    l2Trips: 1 + rounds, // the position first
  };
}

/** Computes the gates of sums of activations and a condition in such a region, one thread for each vector. */
export function conditionalRegion({ pixels, channels }) {
  return {
    blocks: blocksOf(pixels * blocksOf(channels, vectorElements / 2), flatThreads),
    threads: flatThreads,
    instructions: gateInstructions.conditional.region,
    l2Bytes: 5 * pixels * channels * elementBytes,
    l2Trips: 2, // the position first
  };
}

/** Adds a condition to the activations of such a region. */
export function addConditionRegion({ pixels, channels }) {
  return {
    blocks: blocksOf(pixels * blocksOf(channels, vectorElements), flatThreads),
    threads: flatThreads,
    l2Bytes: 3 * pixels * channels * elementBytes,
    l2Trips: 2, // the position first
  };
}

/** Adds the nats of an image's blocks, with one warp per image. */
export function imageNats({ images }) {
  return { blocks: images, threads: 32, l2Trips: 1 };
}

/** Reads bytes and writes levels and activations, one element per thread. */
export function quantise({ count }) {
  return {
    blocks: blocksOf(count, flatThreads),
    threads: flatThreads,
    hbmBytes: count * (2 + elementBytes),
    hbmTrips: 1,
  };
}

/** Rounds a bias to the element type, for cuDNN; other kernels as small cost the same. */
export function tiny() {
  return { hbmTrips: 1 };
}

/** Computes the gradient's norm: sums of squares, 16 loads at a time, and the sum of those. */
export function gradientNorm({ parameters }) {
  const chunks = blocksOf(parameters, 16 * 256);
  return [
    { blocks: chunks, threads: 256, hbmBytes: parameters * floatBytes, hbmTrips: 1 },
    { threads: 256, l2Trips: blocksOf(chunks, 16 * 256) },
  ];
}

/** Runs Adam: one thread prepares the scalars, two powers in double among them; then five tensors in, four out. */
export function adam({ parameters }) {
  return [
    { instructions: 2500, hbmTrips: 1 }, // about 1,000, most of them in double, which are slower: assumed
    {
      blocks: blocksOf(parameters, 4 * 256),
      threads: 256,
      instructions: 300,
      hbmBytes: 9 * parameters * floatBytes,
      hbmTrips: 1,
    },
  ];
}

/** Adds the gradients of a chunk of the batch to those before it. */
export function addGradient({ count }) {
  return { blocks: blocksOf(count, 256), threads: 256, l2Bytes: 3 * count * floatBytes, l2Trips: 1 };
}

/** Advances the sampler's position, with one thread. */
export function nextFront() {
  return { l2Trips: 1 };
}
