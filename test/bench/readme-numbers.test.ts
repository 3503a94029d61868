// Tests that the README and docs/scaling say what the committed reports of scripts/bench say.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { withNumbers } = await import(`${root}scripts/bench/readme-numbers.mjs`);
const { scalingPlot, withScaling } = await import(`${root}scripts/bench/scaling-plot.mjs`);
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');
const marks = '<!-- cpu numbers: made by scripts/bench/readme-numbers.mjs -->\n<!-- end of cpu numbers -->';

/** A report in which a step takes so many milliseconds, PyTorch's 600 in f32 and 300 in bf16. */
function reportOf(step: number, more: object = {}) {
  const model = {
    ...{ architecture: 'plain', levels: 256, coreToCoreNs: [30.2, 31] },
    medianMs: { 'pixelcnn training step': step, 'pixelcnn sampling 16': 50 },
    ratios: {
      'training step / pytorch f32': 600 / step,
      'training step / pytorch bf16': 300 / step,
      'sampling 16 / pytorch one forward per pixel': 1234.5,
    },
  };
  return {
    ...{ date: '2026-11-28T00:00:00Z', batch: 32, peakGflops: 230.4, peer: { torch: '2.13.0' } },
    device: { name: 'A CPU', instructionSet: 'avx512', threads: 2 },
    models: [model],
    ...more,
  };
}
const machine = (ns: number) => ({
  loadAverage: 0.04,
  coreToCore: { processors: [0, 1], pairs: [{ processors: [0, 1], ns }] },
  caches: [
    { name: 'L1d', size: '32K', groups: [[0], [1]] },
    { name: 'L2', size: '1024K', groups: [[0], [1]] },
    { name: 'L3', size: '32768K', groups: [[0, 1]] },
  ],
});

describe('the README’s tables', () => {
  it('give the range over several reports, and name cores, caches and latency', () => {
    const reports = [
      ['a.json', reportOf(160, { machine: machine(28.4) })],
      ['b.json', reportOf(224, { machine: machine(158.3) })],
      ['c.json', reportOf(310)],
    ];
    const text: string = withNumbers(`before\n${marks}\nafter\n`, reports);
    expect(text).toContain(
      '| [2026-11-28](b.json) | A CPU, avx512, 2 threads | 230 GF/s | 30–158 ns | L2 1024K each, L3 32768K shared by 2 | 0.0 | 2.13.0 |',
    );
    expect(text).toMatch(/\(c\.json\).* 30–31 ns \| unknown \| unknown/);
    // 300 / 310 does not read like 1.
    expect(text).toContain('| training step | 160–310 ms | 103–200 | **1.9–3.8×** | **0.97–1.9×** |');
    expect(text).toContain('| sampling 16 images | 50.0 ms | 320 | one forward per pixel: **1,235×** |  |');
    expect(text).not.toContain('bf16 |  |');
    expect(withNumbers(text, reports)).toBe(text);
  });

  it('refuse reports without PyTorch, and a text without marks', () => {
    const [model] = reportOf(100).models;
    const alone = reportOf(100, {
      models: [{ ...model, ratios: { 'forward direct bf16 / forward direct f32': 2 } }],
    });
    expect(() => withNumbers(marks, [['a.json', alone]])).toThrow('a.json has no numbers of PyTorch');
    expect(() => withNumbers('', [['a.json', reportOf(100)]])).toThrow('lacks');
  });

  it('are what the reports say that they link to', () => {
    const readme = read('README.md');
    const paths = [...readme.matchAll(/^\| \[[\d-]+\]\((scripts\/bench\/reports\/[\w.-]+)\)/gm)].map(
      ([, path]) => path!,
    );
    expect(paths.length).toBeGreaterThan(0);
    expect(
      withNumbers(
        readme,
        paths.map((path) => [path, JSON.parse(read(path))]),
      ),
    ).toBe(readme);
  });
});

const scaling = read('docs/scaling.md');
const path = /Report: `([^`]+)`/.exec(scaling)?.[1];
describe.skipIf(
  skipAloud('docs/scaling against its report', path ? undefined : 'no report is committed yet'),
)('docs/scaling', () => {
  it('has the tables and the plot of its report', () => {
    const report = JSON.parse(read(path!));
    expect(withScaling(scaling, report, path)).toBe(scaling);
    expect(scalingPlot(report)).toBe(read('docs/scaling.svg'));
  });
});
