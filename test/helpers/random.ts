// Makes seeded random numbers for tests; the message of a failing test has the seed.

/** A small generator (sfc32) with the draws that tests need. PIXELCNN_TEST_SEED replaces every seed. */
export class TestRandom {
  readonly seed: number;
  readonly #state: Uint32Array;

  constructor(seed: number) {
    this.seed = Number(process.env.PIXELCNN_TEST_SEED ?? seed);
    this.#state = Uint32Array.of(this.seed, this.seed ^ 0x9e3779b9, 0xdeadbeef, 1);
    for (let i = 0; i < 16; i += 1) this.word();
  }

  word(): number {
    const s = this.#state;
    const result = (s[0]! + s[1]! + s[3]!) >>> 0;
    s[3] = s[3]! + 1;
    s[0] = s[1]! ^ (s[1]! >>> 9);
    s[1] = s[2]! + (s[2]! << 3);
    s[2] = ((s[2]! << 21) | (s[2]! >>> 11)) + result;
    return result;
  }

  /** In [0, 1). */
  uniform(): number {
    return this.word() / 2 ** 32;
  }

  /** An integer in [low, high]. */
  int(low: number, high: number): number {
    return low + Math.floor(this.uniform() * (high - low + 1));
  }

  pick<T>(items: readonly T[]): T {
    return items[this.int(0, items.length - 1)]!;
  }

  /** Standard normal. */
  normal(): number {
    return Math.sqrt(-2 * Math.log(1 - this.uniform())) * Math.cos(2 * Math.PI * this.uniform());
  }

  normals(length: number, scale = 1): Float32Array {
    return Float32Array.from({ length }, () => this.normal() * scale);
  }

  integers(length: number, low: number, high: number): Float32Array {
    return Float32Array.from({ length }, () => this.int(low, high));
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.int(0, 255));
  }
}

/** Runs `body` with a generator; an error of it says which seed and case it was. */
export async function withSeed(
  seed: number,
  body: (random: TestRandom, at: (place: string) => void) => void | Promise<void>,
): Promise<void> {
  const random = new TestRandom(seed);
  let place = 'start';
  try {
    await body(random, (now) => {
      place = now;
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(`seed ${random.seed}, at ${place}: ${message}`, { cause: error });
  }
}
