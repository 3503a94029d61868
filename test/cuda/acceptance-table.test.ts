// Tests what scripts/gpu-acceptance makes from a report: the README's table and the end of a run in words.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { parseReport } = await import(`${root}scripts/gpu-acceptance/report.mjs`);
const { withTable } = await import(`${root}scripts/gpu-acceptance/table.mjs`);
const { summary } = await import(`${root}scripts/gpu-acceptance/summary.mjs`);

const marks = [
  '<!-- gpu numbers: made by scripts/gpu-acceptance/table.mjs -->',
  '<!-- end of gpu numbers -->',
];
const run = {
  run: { emulated: false, commit: '0123456789', gpu: { name: 'A GPU', driver: '580' }, date: '' },
};
const device = (cudnn: string) => ({ gpu: 'A GPU', precision: 'bf16', cudnn });

/** The lines of one part. */
function part(name: string, rows: object[], status = 'passed'): object[] {
  return [
    { part: name, started: '' },
    ...rows.map((row) => ({ part: name, ...row })),
    { part: name, status, seconds: 1, failures: status === 'failed' ? ['no'] : [], commit: '0123456789' },
  ];
}

const reportOf = (...lines: object[]) => parseReport(lines.map((line) => JSON.stringify(line)).join('\n'));
const training = (kernels: string, batch: number, milliseconds: number) => ({
  training: 'speed',
  kernels,
  batch,
  milliseconds,
  imagesPerSecond: (1000 * batch) / milliseconds,
  gflopPerImage: 2,
});
const own = part('training-speed-own', [
  device('none: /nonexistent'),
  training('own', 256, 4),
  training('own', 64, 2),
]);
const cudnn = part('training-speed-cudnn', [device('9.24 in /usr/lib'), training('cuDNN', 256, 2.5)]);
const sampling = part('sampling-speed-own', [
  { sampling: 'speed', batch: 1, milliseconds: 8, imagesPerSecond: 125 },
]);
const eager = part('pytorch-eager', [
  { peer: 'versions', torch: '2.11' },
  { peer: 'matmul', size: 8192, ms: 1.4 },
  { peer: 'training', compiled: false, batch: 256, ms: 6 },
  { peer: 'sampling', batch: 1, pixels: 10, ofPixels: 784, ms: 100 },
]);

describe('the table of GPU numbers', () => {
  const all = reportOf(run, ...own, ...cudnn, ...sampling, ...eager);

  it('goes between its marks, again and again the same', () => {
    const once = withTable(`before\n${marks.join('\n')}\nafter\n`, all, 'r.jsonl');
    expect(once).toContain('A GPU, driver 580, bf16, cuDNN 9.24 in /usr/lib;');
    expect(once).toContain('| training, own kernels | 64 | 32000 | –× eager, –× compiled | 8% |');
    expect(once).toContain('| training, own kernels | 256 | 64000 | 1.50× eager, –× compiled | 16% |');
    expect(once).toContain('| training, cuDNN kernels | 256 | 102400 | 2.40× eager, –× compiled | 26% |');
    expect(once).toContain('| sampling | 1 | 125.0 | 980× one forward per pixel | 8.0 ms |');
    expect(once).toContain('Of 4 parts\n4 passed, 0 failed; commit 0123456.');
    expect(once.startsWith('before\n') && once.endsWith('\nafter\n')).toBe(true);
    expect(withTable(once, all, 'r.jsonl')).toBe(once);
  });

  it('is made of whatever parts there are, without NaN', () => {
    const reports = [
      reportOf(run),
      reportOf(run, ...own),
      reportOf(run, ...sampling),
      reportOf(run, ...eager),
      reportOf(
        run,
        ...part('training-speed-own', [{ training: 'speed', batch: 1, failure: 'no' }], 'failed'),
      ),
      reportOf(run, ...own.slice(0, 2), { part: 'sampling', status: 'left out', failures: [], seconds: 0 }),
    ];
    for (const report of reports) {
      const text = withTable(marks.join('\n'), report, 'r.jsonl') + summary(report);
      expect(text).not.toMatch(/NaN|undefined|Infinity|null/);
      expect(text).toContain('| --- | --- |');
    }
    expect(withTable(marks.join('\n'), reports[1], 'r.jsonl')).toContain(
      '| training, own kernels | 256 | 64000 | –',
    );
    expect(withTable(marks.join('\n'), reports[3], 'r.jsonl')).not.toContain('| sampling |');
  });

  it('has its marks in the README', () => {
    const table = withTable(readFileSync(`${root}README.md`, 'utf8'), all, 'r.jsonl');
    expect(table).toContain('| training, own kernels | 256 |');
  });

  it('is not made of an emulated report, of several GPUs, nor where there are no marks', () => {
    const emulated = { run: { ...run.run, emulated: true } };
    const other = { run: { ...run.run, gpu: { name: 'Another', driver: '580' } } };
    const make = (text: string, ...lines: object[]) => withTable(text, reportOf(...lines), 'r.jsonl');
    expect(() => make(marks.join('\n'), run, emulated, ...own)).toThrow(/emulated/);
    expect(() => make(marks.join('\n'), run, other, ...own)).toThrow(/A GPU, Another/);
    expect(() => make('', run, ...own)).toThrow(/lacks/);
    expect(() => make(marks.join('\n'), ...own)).toThrow(/no run/);
  });
});

describe('what was measured of gated networks', () => {
  const asGated = (row: object) => ({ ...row, architecture: 'gated' });
  const gatedEager = part('gated-pytorch-eager', [
    asGated({ peer: 'training', compiled: false, batch: 256, ms: 30 }),
    asGated({ peer: 'sampling', batch: 1, pixels: 10, ofPixels: 784, ms: 1000 }),
  ]);
  const gatedOwn = part('gated-training-speed-own', [asGated(training('own', 256, 10))]);
  const gatedSampling = part('gated-sampling-speed-own', [
    asGated({ sampling: 'speed', batch: 1, milliseconds: 100, imagesPerSecond: 10 }),
  ]);
  const gated = [...gatedOwn, ...gatedSampling, ...gatedEager];

  it('has rows of its own, compared with the gated peer', () => {
    for (const order of [
      [...gated, ...own, ...sampling, ...eager],
      [...own, ...sampling, ...eager, ...gated],
    ]) {
      const text = withTable(marks.join('\n'), reportOf(run, ...order), 'r.jsonl');
      expect(text).toContain('| training, own kernels | 256 | 64000 | 1.50× eager, –× compiled | 16% |');
      expect(text).toContain('| gated training, own kernels | 256 | 25600 | 3.00× eager, –× compiled | 7% |');
      expect(text).toContain('| gated sampling | 1 | 10.0 | 784× one forward per pixel | 100.0 ms |');
      expect(text.indexOf('| gated training')).toBeGreaterThan(text.indexOf('| training, own kernels | 256'));
    }
  });

  it('is not compared with the plain peer, nor does it count for the targets', () => {
    const report = reportOf(run, ...gatedOwn, ...eager);
    expect(withTable(marks.join('\n'), report, 'r.jsonl')).toContain('| 25600 | –× eager');
    expect(summary(report)).not.toContain('target');
    expect(summary(reportOf(run, ...gated))).not.toContain('target');
  });

  it('stands beside the prediction for a gated network', async () => {
    const { predictedBeside } = await import(`${root}scripts/gpu-acceptance/predicted-beside.mjs`);
    const ops = [
      ['pack', 0.01],
      ['pack', 0.02],
      ['layers.2.horizontal gate', 0.3],
    ];
    const trace = part('gated-trace-own', [asGated({ trace: 'own', batch: 256, milliseconds: 1, ops })]);
    const text: string = predictedBeside(reportOf(run, ...gated, ...trace, ...own));
    const predicted = (line: RegExp) => Number(line.exec(text)?.[1]);
    const step = predicted(/^gated training step, own, batch 256: 10.000 ms, predicted ([\d.]+) ms/m);
    expect(step).toBeGreaterThan(
      predicted(/^training step, own, batch 256: 4.000 ms, predicted ([\d.]+) ms/m),
    );
    expect(text).toMatch(/^gated sampling, batch 1: 100.000 ms, predicted /m);
    // Both ops that pack filters, as one.
    expect(text).toMatch(/^gated op, pack, own, batch 256: 0.030 ms, predicted /m);
    expect(text.match(/op, pack/g)).toHaveLength(1);
    expect(text).toMatch(/^gated op, layers.2.horizontal gate, own, batch 256: 0.300 ms, predicted /m);
  });
});

describe('the end of a run', () => {
  it('names the parts by how they ended, and the targets that have both sides', () => {
    const failed = [
      { part: 'training', started: '' },
      { part: 'training', status: 'failed', seconds: 1, failures: ['loss differs'] },
    ];
    const text = summary(reportOf(run, ...own, ...eager, ...failed, { part: 'quality', started: '' }));
    expect(text).toContain('passed: training-speed-own, pytorch-eager\nfailed: training\n');
    expect(text).toContain('unfinished: quality');
    expect(text).toContain('training: loss differs');
    expect(text).toContain('target eager: 1.50× of 2.5×');
    expect(text).not.toContain('target compiled');
  });

  it('tells why a part was ended, and what it last said', () => {
    const ended = [
      { part: 'training', started: '' },
      { part: 'training', status: 'timed out', reason: 'ended by its limit', failures: [], output: 'a\nb\n' },
      { part: 'sampling', started: '' },
      { part: 'sampling', status: 'cut off', reason: 'ended by SIGTERM', failures: [], output: '' },
    ];
    const text = summary(reportOf(run, ...ended));
    expect(text).toContain('timed out: training\ncut off: sampling\n');
    expect(text).toContain('  training: ended by its limit; last said: b\n  sampling: ended by SIGTERM');
  });

  it('has what was predicted beside what was measured, the ops that lose most first', async () => {
    const { predictedBeside } = await import(`${root}scripts/gpu-acceptance/predicted-beside.mjs`);
    const trace = part('trace-own', [
      {
        trace: 'own',
        batch: 256,
        milliseconds: 9,
        ops: [
          ['net.2 forward', 0.2],
          ['net.4 forward', 7],
          ['net.0 forward', 0.05],
        ],
      },
    ]);
    const lines = predictedBeside(reportOf(run, ...own, ...cudnn, ...sampling, ...trace)).split('\n');
    const step = lines.find((line: string) =>
      line.startsWith('training step, own, batch 256: 4.000 ms, predicted '),
    );
    const [, predicted, ratio] = /predicted ([\d.]+) ms, ratio ([\d.]+)/.exec(step!)!;
    expect(Number(predicted)).toBeGreaterThan(1);
    expect(Number(ratio)).toBeCloseTo(4 / Number(predicted), 2);
    expect(lines.join('\n')).toMatch(/^training step, cudnn, batch 256: 2.500 ms, predicted /m);
    expect(lines.join('\n')).toMatch(/^sampling, batch 1: 8.000 ms, predicted /m);
    const ops = lines.filter((line: string) => line.startsWith('op, '));
    expect(ops).toHaveLength(3);
    expect(ops[0]).toMatch(/^op, net.4 forward, own, batch 256: 7.000 ms, predicted /);
    expect(predictedBeside(reportOf(run, ...eager))).toBe('');
  });
});
