// Keeps a series of points in bounded memory, by replacing neighbouring points by their means when there are too many.
import type { Point } from './chart.js';

interface Bucket {
  count: number;
  xSum: number;
  ySum: number;
}

export class BoundedSeries {
  readonly #limit: number;
  #buckets: Bucket[] = [];
  /** Number of points that a full bucket is the mean of; it doubles when there are too many buckets. */
  #size = 1;

  /** Keeps at most `limit` points. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  add(x: number, y: number): void {
    const last = this.#buckets.at(-1);
    if (last === undefined || last.count >= this.#size) this.#buckets.push({ count: 1, xSum: x, ySum: y });
    else merge(last, { count: 1, xSum: x, ySum: y });
    if (this.#buckets.length > this.#limit) this.#halve();
  }

  get points(): Point[] {
    return this.#buckets.map(({ count, xSum, ySum }) => [xSum / count, ySum / count]);
  }

  #halve(): void {
    this.#buckets = this.#buckets.filter((bucket, i, buckets) => {
      const next = buckets[i + 1];
      if (i % 2 === 0 && next !== undefined) merge(bucket, next);
      return i % 2 === 0;
    });
    this.#size *= 2;
  }
}

function merge(into: Bucket, other: Bucket): void {
  into.count += other.count;
  into.xSum += other.xSum;
  into.ySum += other.ySum;
}
