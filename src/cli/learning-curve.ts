// Draws the learning curve of a run: bits per dimension of training and validation over steps.
import { BoundedSeries } from './bounded-series.js';
import { lineChart, type Point } from './chart.js';
import type { MetricsLine } from './metrics.js';

/** Most points of a line; more could not be seen. */
const resolution = 400;

export class LearningCurve {
  readonly #title: string;
  readonly #training = new BoundedSeries(resolution);
  readonly #validation = new BoundedSeries(resolution);

  constructor(title: string) {
    this.#title = title;
  }

  add({ type, step, bitsPerDim }: MetricsLine): void {
    if (typeof bitsPerDim !== 'number' || !Number.isFinite(bitsPerDim)) return;
    if (type === 'step') this.#training.add(step, bitsPerDim);
    if (type === 'validation') this.#validation.add(step, bitsPerDim);
  }

  get empty(): boolean {
    return this.#training.points.length === 0;
  }

  svg(): string {
    const { points } = this.#training;
    const training = { name: 'training', color: '#2f6fde' };
    return lineChart({
      title: this.#title,
      xLabel: 'step',
      yLabel: 'bits per dimension',
      series: [
        { ...training, points, faint: true },
        { ...training, points: smooth(points) },
        { name: 'validation', color: '#d9480f', points: this.#validation.points, dots: true },
      ],
    });
  }
}

/**
 * Replaces each value by the mean of its neighbours: few at the start, where the loss falls fast, then up to
 * 2 % of the points on either side.
 */
function smooth(points: readonly Point[]): Point[] {
  return points.map(([step], i) => {
    const reach = Math.round(Math.min(0.1 * i, 0.02 * points.length));
    const near = points.slice(i - reach, i + reach + 1);
    return [step, near.reduce((sum, [, value]) => sum + value, 0) / near.length];
  });
}
