// What was done to images while they were read: each kind told once, with the number of images.

/** What is done to an image, in this order; resizing and crops come last. */
const STAGES = ['read', 'turned', 'channels', 'size'] as const;
type Stage = (typeof STAGES)[number];

/** Counts what is done to images, by kind. */
export class ImageNotes {
  readonly #counts = new Map(STAGES.map((stage) => [stage, new Map<string, number>()]));
  readonly #sizes = new Set<string>();
  readonly #plain: string[] = [];
  #resized = 0;

  /** One image was changed so, at this stage. */
  count(stage: Stage, what: string): void {
    const counts = this.#counts.get(stage) as Map<string, number>;
    counts.set(what, (counts.get(what) ?? 0) + 1);
  }

  /** One image of this size was resized. */
  resized(width: number, height: number): void {
    this.#resized += 1;
    this.#sizes.add(`${width}x${height}`);
  }

  /** A sentence about the whole set. */
  tell(sentence: string): void {
    this.#plain.push(sentence);
  }

  /** One sentence per kind, in the order in which things are done to an image; `size` is what images were resized to, `total` how many there are. */
  sentences(total: number, size: string): string[] {
    const told = (what: string, count: number) => {
      if (total === 1) return what;
      return `${what}: ${count === total ? 'all' : `${count} of`} ${total} images`;
    };
    const [only] = this.#sizes;
    const from = this.#sizes.size === 1 ? only : 'various sizes';
    return [
      ...this.#plain,
      ...[...this.#counts.values()]
        .flatMap((counts) => [...counts])
        .map(([what, count]) => told(what, count)),
      ...(this.#resized > 0 ? [told(`resized from ${from} to ${size}`, this.#resized)] : []),
    ];
  }
}

/** `a, b, c, …`: the first of many names. */
export function firstNames(names: readonly string[], most = 3): string {
  return names.slice(0, most).join(', ') + (names.length > most ? ', …' : '');
}
