// Computes how many blocks of a kernel one multiprocessor holds at once, from its threads, registers and shared
// memory (CUDA C++ Programming Guide, compute capabilities; blocks_per_multiprocessor in cuda/tile.h is the part
// without registers).

/** Limits of one multiprocessor. Each of four schedulers has its own registers; a block costs 1 KB of shared memory. */
const multiprocessors = {
  80: { threads: 2048, blocks: 32, sharedBytes: 164 * 1024 },
  90: { threads: 2048, blocks: 32, sharedBytes: 228 * 1024 },
};
const schedulers = 4;
const schedulerRegisters = 16384;

/** Architectures that can be checked. The limits were made for the first. */
export const architectures = [90, 80];

export function blocksPerMultiprocessor(architecture, { threads, registers, shared }) {
  const most = multiprocessors[architecture];
  const warpRegisters = Math.ceil(registers / 8) * 8 * 32;
  const warps = schedulers * Math.floor(schedulerRegisters / warpRegisters);
  return Math.min(
    most.blocks,
    Math.floor(most.threads / threads),
    Math.floor(warps / Math.ceil(threads / 32)),
    Math.floor(most.sharedBytes / (Math.ceil(shared / 128) * 128 + 1024)),
  );
}
