// Places tensors in one arena so that no two of them that are in use at the same time share memory.

/** A tensor to place: live from op `first` to op `last`, both included. */
export interface Lifetime {
  readonly blocks: number;
  readonly first: number;
  readonly last: number;
}

export interface MemoryPlan {
  /** First block of each tensor, in the order given. */
  readonly offsets: readonly number[];
  /** Blocks of the whole arena. */
  readonly blocks: number;
}

/**
 * Places the largest tensor first, and each at the lowest offset that is free during its whole life: "greedy by size" in
 * Pisarchyk & Lee 2020, "Efficient memory management for deep neural net inference".
 */
export function planMemory(lifetimes: readonly Lifetime[]): MemoryPlan {
  const order = lifetimes
    .map((_, index) => index)
    .sort((a, b) => lifetimes[b]!.blocks - lifetimes[a]!.blocks || a - b);
  const offsets = new Array<number>(lifetimes.length).fill(0);
  const placed: number[] = [];
  let blocks = 0;
  for (const index of order) {
    const tensor = lifetimes[index]!;
    let offset = 0;
    for (const other of placed) {
      const rival = lifetimes[other]!;
      if (rival.last < tensor.first || rival.first > tensor.last) continue;
      if (offset + tensor.blocks <= offsets[other]!) break;
      offset = Math.max(offset, offsets[other]! + rival.blocks);
    }
    offsets[index] = offset;
    placed.push(index);
    placed.sort((a, b) => offsets[a]! - offsets[b]!);
    blocks = Math.max(blocks, offset + tensor.blocks);
  }
  return { offsets, blocks };
}
