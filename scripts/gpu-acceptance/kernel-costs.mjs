// What our CUDA kernels ask of a GPU: bytes, instructions, products, waiting.
//
// Each function describes the launch that a kernel of cuda/ makes for a shape; gpu-model.mjs turns that into time.
// Instructions are those of the machine code (sm_90, nvcc 13.0, bf16) that a warp goes through, counted per loop and rounded.
import {
  blocksOf,
  depthOf,
  elementBytes,
  sharedBytes,
  threadsOf,
  tiles,
  vectorElements,
} from './gpu-model.mjs';

/** Sizes that the kernels and their launchers share the work out by, with the names that they have in cuda/. */
export const sizes = {
  kLeastPixels: 64, // of a part of a weight gradient
  kSumWarps: 8, // of a block that adds up pixels
  kSumChannels: 32, // of such a block
  kPasses: 8, // of a block over rows of logits
  kHeld: 8, // logits of a lane
  kCrossEntropyThreads: 256,
  kFlatThreads: 256,
  kLogitsStride: 256 + 4, // of the sampler's logits in shared memory
};

const floatBytes = 4;
/** What a load or store of less moves. */
const sectorBytes = 32;

/** Instructions of a warp in a block tile's loop: address arithmetic outweighs the products. */
const instructions = {
  block: 200, // before the loop: where its pixels lie
  pair: 25, // behind the loop, for two neighbouring sums
  step: 36, // barrier, wait, and where the next stage begins
  // A copy of 16 bytes into shared memory:
  line: 20, // neighbours in memory
  filterOfTap: 36, // the index is divided into tap and filter
  shiftedPixel: 42, // is the tap inside the image, and where
  pixelLookUp: 33, // besides, where pixels change with every stage: the index is divided into row and column
  // A copy element by element, where 16 bytes do not lie together:
  scalars: 11, // around the loop
  scalar: 14, // neighbours in memory
  scalarTap: 44, // the index is divided into tap and channel for each
};

/** Taps that have a weight, and taps of the packed filter (cuda/masked_conv2d.h). */
export function tapsOf({ kernelSize, maskType, groups }) {
  const radius = (kernelSize - 1) / 2;
  const centre = maskType === 'B' || groups > 1 ? 1 : 0;
  return { live: radius * kernelSize + radius + centre, slots: (radius + 1) * kernelSize };
}

/** A warp's way through a tile of `steps` stages; a and b: instructions per copy of either operand. */
function warpInstructions(tile, steps, a, b) {
  const depth = depthOf(tile);
  const pieces = depth / 16;
  const copies = (size) => (size * depth) / vectorElements / threadsOf(tile);
  const products = (tile.warpRows / 16) * (tile.warpColumns / 8) * pieces;
  const fragments = (tile.warpRows / 16 + tile.warpColumns / 16) * pieces;
  const step = instructions.step + products + fragments + copies(tile.rows) * a + copies(tile.columns) * b;
  const pairs = (products / pieces) * 2;
  return instructions.block + steps * step + pairs * instructions.pair;
}

function tileDemand(tile, { steps, blocks, along, a, b }) {
  return {
    blocks,
    threads: threadsOf(tile),
    sharedBytes: sharedBytes(tile, along),
    instructions: warpInstructions(tile, steps, a, b),
    mmaFlops: 2 * tile.rows * tile.columns * depthOf(tile) * steps,
    l2Trips: tile.stages - 1 + steps / (tile.stages - 1), // a stage is asked for that many steps ahead
  };
}

const isVector = (channels) => channels % vectorElements === 0;
const scalarCopy = (perElement) => instructions.scalars + vectorElements * perElement;
const tapCopy = (channels) =>
  isVector(channels) ? instructions.shiftedPixel : scalarCopy(instructions.scalarTap);
const lineCopy = (channels, vector) => (isVector(channels) ? vector : scalarCopy(instructions.scalar));

/**
 * Our convolution (cuda/masked_conv2d_convolve.h): rows are pixels, columns outputs, the depth is (tap, channel). Every tap
 * reads its pixels again. `most`: pixels that the launch is made for, where fewer may be there.
 */
export function convolve({ pixels, most = pixels, taps, c, k, gate = false, backward = false }, gpu) {
  const large =
    k > tiles.SmallTile.columns &&
    blocksOf(most, tiles.LargeTile.rows) * blocksOf(k, tiles.LargeTile.columns) >= gpu.multiprocessors;
  const tile = large ? tiles.LargeTile : tiles.SmallTile;
  const across = blocksOf(k, tile.columns);
  const down = blocksOf(pixels, tile.rows);
  const line = taps * c * elementBytes;
  const written = pixels * k * elementBytes * (gate ? 2 : 1);
  return {
    ...tileDemand(tile, {
      steps: blocksOf(taps * c, depthOf(tile)),
      blocks: down * across,
      along: { a: true, b: !backward },
      a: tapCopy(c),
      b: backward ? lineCopy(k, instructions.filterOfTap) : lineCopy(c, instructions.line),
    }),
    l2Bytes: across * pixels * line + down * k * line + written,
    hbmBytes: pixels * c * elementBytes + written,
  };
}

/** How many parts the pixels are split into (Parts in cuda/masked_conv2d_gradient.cu). */
function partsOf(pixels, blocks, blocksPerPart) {
  const wanted = blocksOf(blocks, blocksPerPart);
  const size = blocksOf(blocksOf(pixels, wanted), sizes.kLeastPixels) * sizes.kLeastPixels;
  return { size, count: blocksOf(pixels, size) };
}

/** Our weight gradient: rows are (tap, channel), columns outputs, the depth is the pixels, in parts. */
export function weightGradient({ pixels, taps, slots, c, k }, gpu) {
  const rows = taps * c;
  const large = rows > tiles.SmallTile.rows && k > tiles.SmallTile.columns;
  const tile = large ? tiles.LargeTile : tiles.SmallTile;
  const [down, across] = [blocksOf(rows, tile.rows), blocksOf(k, tile.columns)];
  const parts = partsOf(pixels, 2 * gpu.multiprocessors, down * across);
  const sums = parts.count * slots * c * k * floatBytes;
  return {
    parts: parts.count,
    demand: {
      ...tileDemand(tile, {
        steps: blocksOf(Math.min(parts.size, pixels), depthOf(tile)),
        blocks: down * across * parts.count,
        along: { a: false, b: false },
        a: tapCopy(c) + instructions.pixelLookUp,
        b: lineCopy(k, instructions.line),
      }),
      l2Bytes: pixels * elementBytes * (across * rows + down * k) + sums,
      hbmBytes: pixels * elementBytes * (c + k) + sums,
    },
  };
}

const flatThreads = sizes.kFlatThreads;

/** Weights into the packed filter: neighbouring channels lie a window apart, so each is a sector of its own. */
export function pack({ slots, c, k, kernelSize }) {
  const weights = slots * c * k;
  const down = Math.min(64, blocksOf(slots * c, 4 * flatThreads));
  return {
    blocks: k * down,
    threads: flatThreads,
    l2Bytes: weights * (kernelSize > 1 ? sectorBytes : floatBytes) + weights * elementBytes,
    l2Trips: blocksOf(slots * c, down * flatThreads), // the loop is not unrolled
  };
}

/** The parts of a weight gradient added up, 16 loads at a time, and spread out again. */
export function unpack({ taps, slots, c, k, kernelSize, parts }) {
  const window = kernelSize ** 2;
  const down = Math.min(64, blocksOf(window * c, 4 * flatThreads));
  const loads = Math.floor(parts / 16) + Math.min(parts % 16, 2);
  return {
    blocks: k * down,
    threads: flatThreads,
    l2Bytes:
      parts * slots * c * k * floatBytes + window * c * k * (kernelSize > 1 ? sectorBytes : floatBytes),
    l2Trips: blocksOf(taps * c, down * flatThreads) * loads,
  };
}

/** The two rounds of a bias gradient: a warp reads one pixel of 32 channels at a time, 8 of them before it waits. */
export function biasGradient({ pixels, k }, gpu) {
  const { kSumWarps: warps, kSumChannels: channels } = sizes;
  const unrolled = 8;
  const across = blocksOf(k, channels);
  const parts = partsOf(pixels, 4 * gpu.multiprocessors, across);
  const round = (count) => blocksOf(blocksOf(count, warps), unrolled);
  const grid = (count) => ({ blocks: count * across, threads: 32 * warps });
  return [
    { ...grid(parts.count), hbmBytes: pixels * k * elementBytes, hbmTrips: round(parts.size) },
    { ...grid(1), l2Bytes: parts.count * k * floatBytes, l2Trips: round(parts.count) },
  ];
}

/** A row of logits for every pixel and channel, by the fewest lanes that hold it: read, its gradient in its place. */
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

/** One warp per image adds its blocks' nats. */
export function imageNats({ images }) {
  return { blocks: images, threads: 32, l2Trips: 1 };
}

/** One element per thread: bytes in, levels and activations out. */
export function quantise({ count }) {
  return {
    blocks: blocksOf(count, flatThreads),
    threads: flatThreads,
    hbmBytes: count * (2 + elementBytes),
    hbmTrips: 1,
  };
}

/** A bias in the element type, for cuDNN; and anything as small. */
export function tiny() {
  return { hbmTrips: 1 };
}

/** The gradient's norm: sums of squares, 16 loads at a time, and the sum of those. */
export function gradientNorm({ parameters }) {
  const chunks = blocksOf(parameters, 16 * 256);
  return [
    { blocks: chunks, threads: 256, hbmBytes: parameters * floatBytes, hbmTrips: 1 },
    { threads: 256, l2Trips: blocksOf(chunks, 16 * 256) },
  ];
}

/** Adam: one thread prepares the scalars, two powers in double among them; then five tensors in, four out. */
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

/** The sampler's head (cuda/sample.cu): the logits of 16 pixels at a time in shared memory, and a draw by a warp for each. */
export function sampleFront({ pixels, c, levels }) {
  const tile = tiles.SampleTile;
  const blocks = blocksOf(pixels, tile.rows);
  const passes = blocksOf(levels, tile.columns);
  const steps = blocksOf(c, depthOf(tile));
  const warps = threadsOf(tile) / 32;
  const draws = blocksOf(Math.min(pixels, tile.rows), warps); // of a warp
  const logits = tile.rows * sizes.kLogitsStride * floatBytes;
  const along = { a: true, b: true };
  const product = warpInstructions(tile, steps, tapCopy(c), lineCopy(c, instructions.line));
  return {
    blocks,
    threads: threadsOf(tile),
    sharedBytes: sharedBytes(tile, along) + logits,
    instructions: passes * product + draws * 600, // of a draw, its shuffles and sums in double
    mmaFlops: 2 * tile.rows * tile.columns * depthOf(tile) * steps * passes,
    l2Bytes: (pixels * passes + blocks * levels) * c * elementBytes,
    l2Trips: passes * (steps + 1) + draws * 2, // of a draw: is the pixel known, and its random number
  };
}

/** The sampler's counter, moved on by one thread. */
export function nextFront() {
  return { l2Trips: 1 };
}
