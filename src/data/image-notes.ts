// Counts the changes that are made to images while they are read, and describes them in sentences.

/** The stages of reading an image, in order. Notes are listed in the same order. */
const STAGES = ['read', 'turned', 'channels', 'size'] as const;
type Stage = (typeof STAGES)[number];

/** Collects notes about a set of images and counts how many images each kind of change was made to. */
export class ImageNotes {
  readonly #counts = new Map(STAGES.map((stage) => [stage, new Map<string, number>()]));
  readonly #sizes = new Set<string>();
  readonly #plain: string[] = [];
  #resized = 0;

  /** Counts that one image was changed in this way. */
  count(stage: Stage, change: string): void {
    const counts = this.#counts.get(stage) as Map<string, number>;
    counts.set(change, (counts.get(change) ?? 0) + 1);
  }

  /** Counts that one image, which had this size before, was resized. */
  resized(width: number, height: number): void {
    this.#resized += 1;
    this.#sizes.add(`${width}x${height}`);
  }

  /** Adds a sentence about the whole set of images. */
  add(sentence: string): void {
    this.#plain.push(sentence);
  }

  /**
   * Returns the notes: first the sentences about the whole set, then one for each kind of change. `total` is
   * the number of images, and `size` describes the size they were resized to.
   */
  sentences(total: number, size: string): string[] {
    const counted = (change: string, count: number) => {
      if (total === 1) return change;
      return `${change}: ${count === total ? 'all' : `${count} of`} ${total} images`;
    };
    const [only] = this.#sizes;
    const from = this.#sizes.size === 1 ? only : 'various sizes';
    return [
      ...this.#plain,
      ...[...this.#counts.values()]
        .flatMap((counts) => [...counts])
        .map(([change, count]) => counted(change, count)),
      ...(this.#resized > 0 ? [counted(`resized from ${from} to ${size}`, this.#resized)] : []),
    ];
  }
}

/** Lists the first names of many, as in `a, b, c, …`. */
export function firstNames(names: readonly string[], most = 3): string {
  return names.slice(0, most).join(', ') + (names.length > most ? ', …' : '');
}
