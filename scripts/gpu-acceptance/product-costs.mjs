// Counts what those CUDA kernels need that multiply matrices in block tiles (cuda/tile.h).
//
// Instructions are those of the machine code (sm_90, nvcc 13.0, bf16). Neighbouring taps read the same pixels but for one.
// If L1 has room for the pixels of all blocks of a multiprocessor, a row of taps therefore reads them from L2 only once.
import {
  blocksOf,
  depthOf,
  elementBytes,
  kernelTime,
  leftToL1,
  residentBlocks,
  sharedBytes,
  threadsOf,
  tiles,
  vectorElements,
} from './gpu-model.mjs';
import { floatBytes, partsOf, sizes } from './kernel-costs.mjs';

/**
 * The instructions of a warp; `rounds` has those of one round of the main loop. The numbers for vectors are counted by
 * scripts/kernel-gates/main.mjs. It counts an inner loop over elements once, although it has two rounds, so the numbers
 * for elements have the length of each such loop added. They are a little too large, because some of it is jumped over.
 */
export const instructions = {
  block: 200, // before the loop: where its pixels lie
  pair: 25, // behind the loop, for two neighbouring sums
  rounds: {
    forward: { LargeTile: { vectors: 138, elements: 751 }, SmallTile: { vectors: 85, elements: 607 } },
    backward: { LargeTile: { vectors: 163, elements: 808 }, SmallTile: { vectors: 122, elements: 649 } },
    weightGradient: {
      LargeTile: { vectors: 166, elements: 745 },
      SmallTile: { vectors: 110, elements: 590 },
    },
    sample: { SampleTile: { vectors: 121, elements: 847 } },
  },
};

/**
 * The loads that a step waits for one after the other if elements pass through registers. The 8 elements of 16 bytes take
 * two rounds of kElementsAtOnce: two for all copies of operand a, and two for each copy of operand b without vectors.
 */
const elementTrips = { forward: 6, backward: 6, weightGradient: 2, sample: 18 };

/** Describes a launch of `blocks` blocks of tile `name`, each of `steps` stages. `along` is as in {@link sharedBytes}. */
function tileDemand(kernel, name, { steps, blocks, along, vectors, aThroughL1 = false, passes = 1 }) {
  const tile = tiles[name];
  const round = instructions.rounds[kernel][name][vectors ? 'vectors' : 'elements'];
  const pairs = (tile.warpRows / 16) * (tile.warpColumns / 8) * 2;
  const [a, b] = [tile.rows * tile.depthBytes, tile.columns * tile.depthBytes];
  // An operand is written once and read by every warp across or down. A copy through L1 also reads it there.
  const stageTraffic =
    a * (1 + tile.columns / tile.warpColumns + (aThroughL1 ? 1 : 0)) + b * (1 + tile.rows / tile.warpRows);
  return {
    blocks,
    threads: threadsOf(tile),
    sharedBytes: sharedBytes(tile, along),
    instructions: passes * (instructions.block + steps * round + pairs * instructions.pair),
    mmaFlops: passes * 2 * tile.rows * tile.columns * depthOf(tile) * steps,
    sharedTraffic: passes * steps * stageTraffic,
    // Vectors are requested stages - 1 steps ahead. Elements are waited for at once.
    l2Trips: passes * (vectors ? tile.stages - 1 + steps / (tile.stages - 1) : steps * elementTrips[kernel]),
  };
}

const isVector = (...channels) => channels.every((count) => count % vectorElements === 0);

/** Counts the pixels that a tile reads from L2 for `rows`, the taps in each row of a filter; L1 shares them in a row. */
function pixelsRead(tileRows, rows, throughL1) {
  return rows.reduce((sum, taps) => sum + (throughL1 ? tileRows + taps - 1 : tileRows * taps), 0);
}

/** Returns the number of taps in each row of a filter's live window. */
function rowsOf(taps, columns) {
  return Array.from({ length: blocksOf(taps, columns) }, (_, row) => Math.min(columns, taps - row * columns));
}

/**
 * Describes our convolution (cuda/masked_conv2d_convolve.h): rows are pixels, columns outputs, the depth is (tap, channel).
 * The launch is for `most` pixels, of which only `pixels` may exist. With `front` they are the pixels of one of the sampler's
 * regions, which are read past L1.
 */
export function convolve(shape, gpu) {
  const demands = ['LargeTile', 'SmallTile'].map((name) => convolveIn(name, shape, gpu));
  const [large, small] = demands.map((demand) => kernelTime(demand, gpu).seconds);
  return demands[large <= small ? 0 : 1];
}

function convolveIn(name, shape, gpu) {
  const {
    pixels,
    most = pixels,
    taps,
    columns,
    c,
    k,
    front = false,
    reluOutput = false,
    add = false,
    backward = false,
  } = shape;
  const tile = tiles[name];
  const across = blocksOf(k, tile.columns);
  const down = blocksOf(pixels, tile.rows);
  const demand = tileDemand(backward ? 'backward' : 'forward', name, {
    steps: blocksOf(taps * c, depthOf(tile)),
    blocks: blocksOf(most, tile.rows) * across,
    along: { a: true, b: !backward },
    vectors: isVector(c, ...(backward ? [k] : [])),
    aThroughL1: !front,
  });
  const busy = { ...demand, blocks: down * across }; // blocks without a pixel return at once
  const rows = rowsOf(taps, columns);
  const hot = Math.min(residentBlocks(busy, gpu), blocksOf(busy.blocks, gpu.multiprocessors));
  const line = c * elementBytes;
  const fits = !front && hot * (tile.rows + rows[0] - 1) * line <= leftToL1(busy, gpu);
  const written = pixels * k * elementBytes * (1 + Number(reluOutput) + Number(add)); // or read beside it
  return {
    ...busy,
    l2Bytes:
      across * (pixels / tile.rows) * pixelsRead(tile.rows, rows, fits) * line +
      down * k * taps * line +
      written,
    hbmBytes: pixels * line + written,
  };
}

/**
 * Describes our weight gradient (cuda/masked_conv2d_gradient.cu): rows are (tap, channel) and one of ones, columns outputs,
 * the depth is the pixels, in parts.
 */
export function weightGradient({ pixels, taps, slots, c, k }) {
  const rows = taps * c + 1;
  const large = rows > tiles.SmallTile.rows && k > tiles.SmallTile.columns;
  const name = large ? 'LargeTile' : 'SmallTile';
  const tile = tiles[name];
  const [down, across] = [blocksOf(rows, tile.rows), blocksOf(k, tile.columns)];
  const blocks = sizes.kMultiprocessors * (large ? sizes.kLargeBlocks : sizes.kSmallBlocks);
  const parts = partsOf(pixels, blocks, down * across);
  const sums = parts.count * (slots * c + 1) * k * floatBytes;
  // The taps of a tile lie side by side: a stage's pixels are read for one of them, and one more for each other.
  const tapsOfTile = Math.max(1, Math.min(taps, Math.floor(tile.rows / c)));
  const depth = depthOf(tile);
  const again = (depth + tapsOfTile - 1) / (depth * tapsOfTile);
  return {
    parts: parts.count,
    demand: {
      ...tileDemand('weightGradient', name, {
        steps: blocksOf(Math.min(parts.size, pixels), depth),
        blocks: down * across * parts.count,
        along: { a: false, b: false },
        vectors: isVector(c), // of the other operand, whose channels are those of a layer
        aThroughL1: true,
      }),
      l2Bytes: pixels * elementBytes * (across * taps * c * again + down * k) + sums,
      hbmBytes: pixels * elementBytes * (c + k) + sums,
    },
  };
}

/**
 * Describes the sampler's head (cuda/sample.cu): logits of 16 pixels at a time in shared memory, a draw by a warp each. With
 * guidance a draw combines the logits of two networks.
 */
export function sampleFront({ pixels, c, levels, networks }) {
  const tile = tiles.SampleTile;
  const blocks = blocksOf(pixels, tile.rows);
  const passes = networks * blocksOf(levels, tile.columns);
  const steps = blocksOf(c, depthOf(tile));
  const warps = threadsOf(tile) / 32;
  const draws = blocksOf(Math.min(pixels, tile.rows), warps); // of a warp
  const demand = tileDemand('sample', 'SampleTile', {
    steps,
    blocks,
    along: { a: true, b: true },
    vectors: isVector(c),
    passes,
  });
  return {
    ...demand,
    sharedBytes: demand.sharedBytes + tile.rows * sizes.kLogitsStride * floatBytes,
    instructions: demand.instructions + draws * 600, // of a draw, its shuffles and sums in double
    l2Bytes: (pixels * passes + networks * blocks * levels) * c * elementBytes,
    l2Trips: demand.l2Trips + draws * 2, // of a draw: is the pixel known, and its random number
  };
}
