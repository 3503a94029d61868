// Tests that the learning curve is well-formed SVG, whatever the numbers.
import { describe, expect, it } from 'vitest';
import { BoundedSeries } from '../../src/cli/bounded-series.js';
import { lineChart } from '../../src/cli/chart.js';
import { LearningCurve } from '../../src/cli/learning-curve.js';

/** Names of all elements. @throws unless tags nest, attributes are quoted and text is escaped. */
function elementsOf(svg: string): string[] {
  const open: string[] = [];
  const names: string[] = [];
  let rest = svg.trim();
  while (rest !== '') {
    const tag = /^<(\/?)([a-zA-Z]+)((?: [\w:-]+="[^"<&]*")*)(\/?)>/.exec(rest);
    const text = /^(?:[^<>&]|&(?:amp|lt|gt|quot);)+/.exec(rest);
    const match = tag ?? text;
    if (match === null) throw new Error(`malformed at ${rest.slice(0, 60)}`);
    rest = rest.slice(match[0].length);
    if (tag === null) continue;
    const [, closes, name, , empty] = tag;
    if (closes === '/') expect(open.pop()).toBe(name);
    else names.push(name!);
    if (closes === '' && empty === '') open.push(name!);
  }
  expect(open).toEqual([]);
  return names;
}

function coordinatesOf(svg: string): number[] {
  return [...svg.matchAll(/points="([^"]*)"/g)].flatMap(([, points]) =>
    points!.split(/[ ,]/).map((text) => Number(text)),
  );
}

describe('lineChart', () => {
  const labels = { title: 'a <b> & "c"', xLabel: 'step', yLabel: 'bits' };

  it('escapes names and titles', () => {
    const series = [{ name: '<&>', color: '#000', points: [[1, 2] as const, [2, 1] as const] }];
    const names = elementsOf(lineChart({ ...labels, series }));
    expect(names.filter((name) => name === 'polyline')).toHaveLength(1);
  });

  it.each([
    ['no points', []],
    ['one point', [[5, 3]]],
    [
      'equal values',
      [
        [1, 2],
        [2, 2],
        [3, 2],
      ],
    ],
    [
      'tiny values',
      [
        [1, 1e-9],
        [2, 2e-9],
      ],
    ],
    [
      'huge steps',
      [
        [1, 8],
        [2_000_000, 0.1],
      ],
    ],
  ] as const)('draws %s with finite coordinates', (_, points) => {
    const svg = lineChart({ ...labels, series: [{ name: 'x', color: '#000', points, dots: true }] });
    elementsOf(svg);
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
    for (const coordinate of coordinatesOf(svg)) expect(coordinate).toBeGreaterThan(-1e4);
  });
});

describe('BoundedSeries', () => {
  it('keeps every point up to the limit', () => {
    const series = new BoundedSeries(4);
    expect(series.points).toEqual([]);
    for (const x of [1, 2, 3, 4]) series.add(x, 10 * x);
    expect(series.points).toEqual([1, 2, 3, 4].map((x) => [x, 10 * x]));
  });

  it('merges neighbours beyond it, so that memory is bounded and the mean stays', () => {
    const series = new BoundedSeries(4);
    for (let x = 1; x <= 5; x += 1) series.add(x, 10 * x);
    expect(series.points).toEqual([
      [1.5, 15],
      [3.5, 35],
      [5, 50],
    ]);
    for (let x = 6; x <= 8; x += 1) series.add(x, 10 * x);
    expect(series.points).toEqual([1.5, 3.5, 5.5, 7.5].map((x) => [x, 10 * x]));
    for (let x = 9; x <= 100_000; x += 1) {
      series.add(x, 10 * x);
      if (series.points.length > 4) expect.fail(`${series.points.length} points`);
    }
    const xs = series.points.map(([x]) => x);
    expect(xs).toEqual(xs.toSorted((a, b) => a - b));
    expect(xs[0]).toBe((1 + 2 ** 15) / 2);
  });
});

describe('LearningCurve', () => {
  it('bounds the points of validation too', () => {
    const curve = new LearningCurve('run');
    for (let step = 1; step <= 10_000; step += 1)
      curve.add({ type: 'validation', step, bitsPerDim: 1 + 1 / step });
    expect(elementsOf(curve.svg()).filter((name) => name === 'circle').length).toBeLessThanOrEqual(400);
  });

  it('thins a long run, keeps the validation points and leaves out what is not finite', () => {
    const curve = new LearningCurve('run');
    for (let step = 1; step <= 10_000; step += 1)
      curve.add({ type: 'step', step, bitsPerDim: step === 50 ? Number.NaN : 1 + 1 / step });
    for (const step of [5000, 10_000]) curve.add({ type: 'validation', step, bitsPerDim: 1.1 });
    curve.add({ type: 'checkpoint', step: 10_000 });
    const svg = curve.svg();
    expect(elementsOf(svg).filter((name) => name === 'circle')).toHaveLength(2);
    expect(coordinatesOf(svg).length).toBeLessThan(2000);
    expect(svg).toContain('validation: 1.1000');
  });
});
