// The learning curve of a run: bits per dimension of training and validation over steps.
import { lineChart } from './chart.js';
import type { MetricsLine } from './metrics.js';

type Point = readonly [number, number];
/** Points of the training line: more would not be seen. */
const resolution = 400;

export class LearningCurve {
  readonly #title: string;
  readonly #training: Point[] = [];
  readonly #validation: Point[] = [];

  constructor(title: string) {
    this.#title = title;
  }

  add({ type, step, bitsPerDim }: MetricsLine): void {
    if (typeof bitsPerDim !== 'number' || !Number.isFinite(bitsPerDim)) return;
    if (type === 'step') this.#training.push([step, bitsPerDim]);
    if (type === 'validation') this.#validation.push([step, bitsPerDim]);
  }

  get empty(): boolean {
    return this.#training.length === 0;
  }

  svg(): string {
    const buckets = bucketMeans(this.#training);
    const training = { name: 'training', color: '#2f6fde' };
    return lineChart({
      title: this.#title,
      xLabel: 'step',
      yLabel: 'bits per dimension',
      series: [
        { ...training, points: buckets, faint: true },
        { ...training, points: smooth(buckets) },
        { name: 'validation', color: '#d9480f', points: this.#validation, dots: true },
      ],
    });
  }
}

function bucketMeans(points: readonly Point[]): Point[] {
  const size = Math.ceil(points.length / resolution);
  const buckets: Point[] = [];
  for (let start = 0; start < points.length; start += size) {
    const part = points.slice(start, start + size);
    const mean = (axis: 0 | 1) => part.reduce((sum, point) => sum + point[axis], 0) / part.length;
    buckets.push([mean(0), mean(1)]);
  }
  return buckets;
}

/** Means over the neighbours: few at the start, where the loss falls fast, up to 2 % of the points on either side. */
function smooth(points: readonly Point[]): Point[] {
  return points.map(([step], i) => {
    const reach = Math.round(Math.min(0.1 * i, 0.02 * points.length));
    const near = points.slice(i - reach, i + reach + 1);
    return [step, near.reduce((sum, [, value]) => sum + value, 0) / near.length];
  });
}
