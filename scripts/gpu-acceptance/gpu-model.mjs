// Computes how long a kernel takes on a GPU from what the GPU can do in a second: the longest of the kernel's
// limits.
//
// A kernel is described by what it asks for (bytes, instructions, products, dependent memory accesses), a GPU by its
// rates. Every limit is computed as if the others took no time; the kernel takes the longest of them. Such a model (a
// "roofline") shows why a kernel is slow, and what can still be gained by changing it.

/** An NVIDIA H100 SXM as docs and measurements describe it. Rates are per second, sizes in bytes, times in seconds. */
export const h100 = {
  name: 'NVIDIA H100 SXM',
  multiprocessors: 132, // datasheet
  clock: 1.7e9, // assumed by the review: under load it stays below the boost clock of 1.98 GHz
  schedulers: 4, // of a multiprocessor, each issues one instruction per clock: Hopper white paper
  threads: 2048, // most that a multiprocessor holds at once: CUDA programming guide
  sharedMemory: 228 * 1024, // of a multiprocessor: CUDA programming guide
  unifiedMemory: 256 * 1024, // of which shared memory takes its share and L1 the rest: Hopper tuning guide
  sharedMemorySizes: [0, 8, 16, 32, 64, 100, 132, 164, 196, 228].map((kilobytes) => kilobytes * 1024), // same guide
  sharedBytesPerClock: 128, // of a multiprocessor, shared memory and L1 together: 32 banks of 4 bytes
  reservedSharedMemory: 1024, // taken from it by each block: CUDA programming guide
  mmaFlopsPerClock: 2670, // of a multiprocessor with mma.sync in bf16: about 65% of wgmma's 4,096, together 600 TF (review)
  matmulRate: 798e12, // bf16 with wgmma: the largest matrix product measured on such a GPU (review)
  peakRate: 989e12, // bf16, dense: datasheet
  hbmRate: 3.0e12, // a copy, measured (review); the datasheet says 3.35e12
  l2Rate: 6e12, // from L2 to all multiprocessors: the review's choice from published 5.5e12 to 7e12
  attained: 0.92, // share of the two memory rates that a kernel that also computes gets: assumed
  l2RoundTrip: 0.33e-6, // under load: assumed, about 270 clocks on an idle device
  hbmRoundTrip: 1e-6, // under load: assumed, 0.6e-6 on an idle device
  clocksPerDependentInstruction: 2.5, // of a warp on its own, whose instructions wait for each other: assumed
  kernelStart: 1.2e-6, // filling and draining the device, which no work hides: assumed
  nodeGap: 1e-6, // between dependent nodes of a graph (review)
  graphLaunch: 6e-6, // for the host to launch a small graph: assumed
  stepGap: 0, // of the device between training steps: two are in flight, so the host has enqueued the next one
  hostTurn: 150e-6, // from a result to the next work on the device, where one waits: 100e-6 to 200e-6 (review)
  hostCopyRate: 50e9, // pinned memory over PCIe 5: assumed, the bus has 63e9
  hostMemoryRate: 5e9, // a copy within main memory by one thread: assumed
  javascriptPerValue: 3.7e-9, // turning drawn levels into bytes: the review's 6 ms for 2,048 images of 784 pixels
};

/** Bytes of an element of bf16, the default precision of a GPU. */
export const elementBytes = 2;
/** Elements that one 16-byte copy moves. */
export const vectorElements = 16 / elementBytes;

/** Block tiles as in cuda/tile.h and cuda/sample.cu, where their meaning is explained. */
export const tiles = {
  LargeTile: { rows: 128, columns: 64, warpRows: 64, warpColumns: 32, depthBytes: 64, stages: 4 },
  SmallTile: { rows: 32, columns: 32, warpRows: 16, warpColumns: 16, depthBytes: 128, stages: 4 },
  SampleTile: { rows: 16, columns: 128, warpRows: 16, warpColumns: 32, depthBytes: 128, stages: 2 },
};

export function depthOf(tile) {
  return tile.depthBytes / elementBytes;
}

/** Returns the threads of a block that computes a tile. */
export function threadsOf(tile) {
  return ((32 * tile.rows) / tile.warpRows) * (tile.columns / tile.warpColumns);
}

/** Returns the shared memory of a block. `along` says for each operand whether its lines run along the depth. */
export function sharedBytes(tile, along) {
  const depth = depthOf(tile);
  const operand = (size, isAlong) =>
    isAlong ? size * (depth + vectorElements) : depth * (size + vectorElements);
  return tile.stages * elementBytes * (operand(tile.rows, along.a) + operand(tile.columns, along.b));
}

/** Returns how many blocks of `size` cover `count`. */
export function blocksOf(count, size) {
  return Math.ceil(count / size);
}

/** Cuts `count` into pieces of at most `most`, and of at least 1. */
export function cut(count, most) {
  const size = Math.max(1, Math.min(most, count));
  return Array.from({ length: blocksOf(count, size) }, (_, i) => Math.min(size, count - i * size));
}

/**
 * Computes the seconds of one launch of a kernel, and those of each of its limits. A demand has
 *   l2Bytes, hbmBytes   moved by the whole kernel between L2 or HBM and the multiprocessors
 *   blocks, threads     of the grid, of a block
 *   sharedBytes         of a block
 *   sharedTraffic       bytes that a block writes to shared memory, reads from it and from L1
 *   instructions        of each warp
 *   mmaFlops            of a block, by mma.sync; matmulFlops: of the whole kernel, by wgmma
 *   l2Trips, hbmTrips   accesses of a thread that wait for one another
 */
export function kernelTime(demand, gpu) {
  const { l2Bytes = 0, hbmBytes = 0, blocks = 1, threads = 32, instructions = 0 } = demand;
  const { mmaFlops = 0, matmulFlops = 0, sharedTraffic = 0, l2Trips = 0, hbmTrips = 0 } = demand;
  const busiest = blocksOf(blocks, gpu.multiprocessors); // blocks of the multiprocessor with the most
  const resident = residentBlocks(demand, gpu);
  const waves = blocksOf(busiest, resident);
  // A scheduler is busy only with enough warps to choose from.
  const slots = (count) =>
    count === 0 ? 0 : Math.max((count * threads) / 32 / gpu.schedulers, gpu.clocksPerDependentInstruction);
  const clocks =
    instructions * (Math.floor(busiest / resident) * slots(resident) + slots(busiest % resident));
  const limits = {
    L2: l2Bytes / (gpu.l2Rate * gpu.attained),
    HBM: hbmBytes / (gpu.hbmRate * gpu.attained),
    issue: clocks / gpu.clock,
    'tensor cores': (busiest * mmaFlops) / (gpu.mmaFlopsPerClock * gpu.clock) + matmulFlops / gpu.matmulRate,
    'shared memory': (busiest * sharedTraffic) / (gpu.sharedBytesPerClock * gpu.clock),
    latency: waves * (l2Trips * gpu.l2RoundTrip + hbmTrips * gpu.hbmRoundTrip),
    launch: gpu.kernelStart,
  };
  const [limit] = Object.entries(limits).reduce((most, entry) => (entry[1] > most[1] ? entry : most));
  const { launch, ...working } = limits;
  return { seconds: launch + Math.max(...Object.values(working)), limit, limits };
}

/** Returns how many blocks a multiprocessor holds at once. */
export function residentBlocks({ threads = 32, sharedBytes: bytes = 0 }, gpu) {
  const byThreads = Math.floor(gpu.threads / threads);
  const byMemory = Math.floor(gpu.sharedMemory / (bytes + gpu.reservedSharedMemory));
  return Math.max(1, Math.min(byThreads, byMemory));
}

/** Returns the bytes of L1 that remain beside these blocks (leave_rest_to_l1 in cuda/gpu.h). */
export function leftToL1(demand, gpu) {
  const wanted = residentBlocks(demand, gpu) * (demand.sharedBytes + gpu.reservedSharedMemory);
  return gpu.unifiedMemory - gpu.sharedMemorySizes.find((bytes) => bytes >= wanted);
}
