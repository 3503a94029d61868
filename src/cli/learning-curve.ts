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

/** Exponential moving average over about 3 % of the points, without the pull of a start value. */
function smooth(points: readonly Point[]): Point[] {
  const keep = 1 - 1 / Math.max(1, 0.03 * points.length);
  let sum = 0;
  let weight = 0;
  return points.map(([step, value]) => {
    sum = keep * sum + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return [step, sum / weight];
  });
}
