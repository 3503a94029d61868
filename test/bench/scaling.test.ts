// Tests what scripts/bench does with the points of the scaling benchmark: measuring, checking, tables and the plot.
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import * as bench from '../../src/cli/bench.js';
import { openDevice } from '../../src/index.js';
import * as architectures from '../../src/models/architectures.js';
import * as network from '../../src/models/network.js';
import * as parameters from '../../src/models/parameters.js';
import { parseConfig } from '../../src/models/parse-config.js';
import * as gradients from '../../src/ops/gradients.js';
import * as window from '../../src/ops/window.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import * as arena from '../../src/program/arena.js';
import { operandsOf } from '../../src/program/recorded-op.js';
import { Recorder } from '../../src/program/recorder.js';
import { trainSchema } from '../../src/train/options.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { testDevice } from '../helpers/models.js';

const folder = fileURLToPath(new URL('../../scripts/bench/', import.meta.url));
const { checkScaling, exceptions, scalingPoints, withTimes } = await import(`${folder}scaling-points.mjs`);
const { measureScaling } = await import(`${folder}scaling.mjs`);
const { scalingMarkdown, scalingText } = await import(`${folder}scaling-table.mjs`);
const { scalingPlot, withScaling } = await import(`${folder}scaling-plot.mjs`);
const { account, measureMemory } = await import(`${folder}memory.mjs`);

interface Point {
  readonly architecture: string;
  readonly factor: string;
  readonly value: number;
  readonly batch: number;
  readonly images: number;
  readonly channels: number;
  readonly side: number;
  readonly levels: number;
  readonly threads: number;
}
type Measures = Record<string, { milliseconds: number; gflop: number; rate?: number; times?: number }>;
type Measured = Point & {
  measures: Measures;
  memory?: { resident: number; ratio: number };
  leftOut?: string;
};

const sizes = { batch: 32, images: 16, channels: 64, side: 28, levels: 256, threads: 2 };
/** A point whose measures take these milliseconds for 1 GFLOP each. */
function point(factor: keyof typeof sizes, value: number, ms: Record<string, number>, ratio = 1): Measured {
  const measures = Object.entries(ms).map(([name, milliseconds]) => [name, { milliseconds, gflop: 1 }]);
  const place = { architecture: 'plain', factor, value, ...sizes, [factor]: value };
  return { ...place, measures: Object.fromEntries(measures), memory: { resident: 5e7, ratio } };
}
const texts = (list: readonly { text: string }[]) => list.map(({ text }) => text);

describe('the points', () => {
  it.each([1, 2, 6, 64])('vary one factor at a time, with %i threads', (threads) => {
    const points: Point[] = scalingPoints(threads);
    const common: Record<string, unknown> = { batch: 32, channels: 64, side: 28, levels: 256, threads };
    for (const each of points) {
      for (const [name, value] of Object.entries(common)) {
        const varied = name === each.factor || (name === 'batch' && each.factor === 'side');
        if (!varied) expect(each[name as keyof Point]).toBe(value);
      }
      const { batch, side, factor } = each;
      if (factor === 'side' && batch > 1)
        expect(Math.abs(Math.log2((batch * side ** 2) / (32 * 28 ** 2)))).toBeLessThan(0.5);
      expect(each.images > 0).toBe(side <= 64);
    }
    const values = (factor: string) =>
      points
        .filter((each) => each.architecture === 'plain' && each.factor === factor)
        .map(({ value }) => value);
    const range = (factor: string) => [values(factor)[0], values(factor).at(-1)];
    expect(['batch', 'channels', 'side', 'levels', 'threads'].map(range)).toEqual([
      [1, 256],
      [16, 256],
      [8, 256],
      [2, 256],
      [1, threads],
    ]);
    expect(new Set(values('threads')).size).toBe(values('threads').length);
    // Every exception is for a point that is measured.
    for (const { factor, values: excused, reason } of exceptions) {
      expect(reason.length).toBeGreaterThan(20);
      for (const value of excused)
        expect(points.some((each) => each.factor === factor && each.value === value)).toBe(true);
    }
  });
});

describe('the check', () => {
  const fast = point('batch', 32, { forward: 10, sampling: 10 });
  const check = (points: Measured[], allowed: object[] = []) => checkScaling(withTimes(points), allowed);

  it('passes points within 1.6 times the best of their kind', () => {
    const other = { ...point('batch', 1, { forward: 50 }), architecture: 'gated' };
    const { failures, excused } = check([fast, point('batch', 1, { forward: 15.9, sampling: 6.3 }), other]);
    expect([failures, excused]).toEqual([[], []]);
  });

  it('finds a planted slow point, and counts the time of every thread', () => {
    const slow = point('channels', 16, { forward: 16.1 });
    expect(texts(check([fast, slow]).failures)).toEqual([
      'plain, channels 16, forward: 1.61 times the best time per operation (31 GF/s a thread), more than 1.6',
    ]);
    // Twice the threads in the same time is half the rate.
    expect(texts(check([fast, point('threads', 4, { sampling: 10 })]).failures)[0]).toMatch(
      /^plain, threads 4, sampling: 2\.00/,
    );
    expect(check([fast, point('batch', 1, { forward: Number.NaN })]).failures).not.toEqual([]);
  });

  it('lets an exception excuse what it names, as far as it says', () => {
    const exception = {
      factor: 'side',
      values: [8],
      measures: ['sampling'],
      times: 3.5,
      reason: 'fronts are short',
    };
    const slow = (sampling: number) => point('side', 8, { forward: 10, sampling });
    expect(texts(check([fast, slow(34)], [exception]).excused)).toEqual([
      'plain, side 8, sampling: 3.40 times the best time per operation (15 GF/s a thread): fronts are short',
    ]);
    expect(check([fast, slow(34)], [exception]).failures).toEqual([]);
    expect(texts(check([fast, slow(36)], [exception]).failures)[0]).toMatch(
      /more than the 3\.5 of its exception$/,
    );
    for (const other of [
      { factor: 'batch' },
      { values: [12] },
      { measures: ['forward'] },
      { architecture: 'gated' },
    ])
      expect(check([fast, slow(34)], [{ ...exception, ...other }]).failures).toHaveLength(1);
  });

  it('does not compare with small images, whose border is skipped', () => {
    expect(check([fast, point('side', 8, { forward: 5 })]).failures).toEqual([]);
    expect(check([fast, point('side', 64, { forward: 5 })]).failures).toHaveLength(1);
  });

  it('finds a step that takes more memory than it needs', () => {
    expect(check([point('batch', 32, { forward: 10 }, 1.2)]).failures).toEqual([]);
    expect(texts(check([point('batch', 32, { forward: 10 }, 1.21)]).failures)).toEqual([
      'plain, batch 32: 1.21 times the memory that must live at once, more than 1.2',
    ]);
    expect(check([point('batch', 32, { forward: 10 }, Number.NaN)]).failures).toHaveLength(1);
  });
});

const library = {
  ...{ ...bench, ...architectures, ...network, ...parameters, ...gradients, ...window, ...arena },
  ...{ openDevice, operandsOf, parseConfig, PixelCNN, Recorder, trainSchema, TrainingStep },
};
const device = testDevice();

describe('the memory of a step', () => {
  it.each(['plain', 'gated'])('is at most 1.2 times what must live at once: %s', async (architecture) => {
    for (const [batch, side, hiddenChannels] of [
      [1, 28, 32],
      [32, 20, 16],
      [3, 9, 5],
    ]) {
      const { resident, needed, ratio, parts } = await measureMemory(
        library,
        device(),
        { architecture, hiddenChannels, levels: 16 },
        { batch, side },
      );
      expect(ratio).toBeCloseTo(resident / needed, 12);
      expect(ratio).toBeGreaterThan(0.7);
      expect(ratio).toBeLessThanOrEqual(1.2);
      const activation = 4 * batch! * side! ** 2 * hiddenChannels!;
      expect(parts.savedActivations).toBeGreaterThan(6 * activation);
      expect(parts.twoLargestGradients).toBeGreaterThanOrEqual(2 * activation);
    }
  });

  it('adds up, and shows an arena that is too large', () => {
    const step = {
      parameters: 20,
      state: 30,
      workspace: 7,
      saved: [10, 10],
      gradients: [3, 9, 8],
      packed: [2, 3],
    };
    const needed = 50 + 20 + 17 + 10;
    expect(account({ ...step, arena: 40 })).toEqual({
      ...{ resident: 97, needed, ratio: 97 / needed },
      parts: {
        ...{ parametersAndOptimizer: 50, savedActivations: 20, twoLargestGradients: 17, scratchOfOneOp: 10 },
      },
    });
    expect(account({ ...step, arena: 80 }).ratio).toBeGreaterThan(1.2);
  });
});

describe('measuring', () => {
  let said: string;
  beforeEach(() => {
    said = '';
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
      said += text;
      return true;
    });
    return () => vi.restoreAllMocks();
  });
  const small = (factor: string, value: number): Point => {
    const place = { batch: 2, images: 2, channels: 16, side: 28, levels: 4, threads: device().info.threads };
    return { architecture: 'plain', factor, value, ...place, [factor]: value };
  };
  const limits = { secondsOfMeasure: 0.001, secondsOfPoint: 60, seconds: 60 };

  it('measures every point, the shared ones once, on as many threads as they say', async () => {
    const opened: number[] = [];
    const own = {
      ...library,
      openDevice: (options: { backend: 'cpu'; threads: number }) => {
        opened.push(options.threads);
        return openDevice(options);
      },
    };
    const threads = device().info.threads + 1;
    const points = [small('batch', 1), small('batch', 2), small('levels', 4), small('threads', threads)];
    const result = await measureScaling(
      own,
      device(),
      [...points, { ...small('side', 70), images: 0 }],
      limits,
    );
    expect(new Set(opened)).toEqual(new Set([threads]));
    expect(result.points.map(({ factor, value }: Point) => `${factor} ${value}`)).toEqual([
      ...['batch 1', 'batch 2', 'levels 4', `threads ${threads}`, 'side 70'],
    ]);
    const [one, two, same, , large]: Measured[] = result.points;
    expect(two!.measures).toEqual(same!.measures);
    expect(Object.keys(large!.measures)).toEqual(['training step', 'forward']);
    // Of the first layer only, which has one input channel, a step needs no input gradient.
    const gflop = (layers: number[]) => layers.reduce((sum, weights) => sum + (2 * 784 * weights) / 1e9, 0);
    const layers = [24 * 16, ...Array.from({ length: 5 }, () => 25 * 256), 4 * 16];
    expect(one!.measures.forward!.gflop).toBeCloseTo(gflop(layers), 12);
    expect(one!.measures['training step']!.gflop).toBeCloseTo(3 * gflop(layers) - gflop([24 * 16]), 12);
    expect(two!.measures.sampling!.gflop).toBeCloseTo(2 * gflop(layers), 12);
    for (const { memory, measures } of result.points as Measured[]) {
      expect(memory!.ratio).toBeLessThan(1.2);
      for (const { milliseconds } of Object.values(measures)) expect(milliseconds).toBeGreaterThan(0);
    }
    expect(said).toMatch(/plain, batch 2 \(1 of 4\)\n/);
    expect(said).toMatch(/\(2 of 4, about \d+ s left\)/);
  });

  it('measures a slow point again, and keeps the less of both times', async () => {
    // The machine is busy during the first measurement of one point.
    let busy = 1;
    const own = {
      ...library,
      measureForward: async (...args: Parameters<typeof bench.measureForward>) => {
        const timing = await bench.measureForward(...args);
        if (args[1]?.batch !== 3) return { ...timing, milliseconds: args[1]!.batch! };
        busy += 1;
        return { ...timing, milliseconds: busy === 2 ? 30 : 3 };
      },
    };
    const { points } = await measureScaling(own, device(), [small('batch', 2), small('batch', 3)], limits);
    expect(said).toContain('plain, batch 3 again, because it is slow');
    expect(points[1].measures.forward).toMatchObject({ milliseconds: 3, times: expect.closeTo(1) });
  });

  it('leaves out aloud what would take too long', async () => {
    const points = [small('batch', 2), small('batch', 64)];
    const result = await measureScaling(library, device(), points, { ...limits, secondsOfPoint: 0.004 });
    expect(result.points[1]).toMatchObject({
      leftOut: expect.stringMatching(/^it would take about \d+ s, more than/),
    });
    expect(said).toContain('plain, batch 64 left out: it would take');
    expect(scalingText(result)).toMatch(/plain, 64 +64 of 28×28 +left out: it would take/);
    const late = await measureScaling(library, device(), points, { ...limits, seconds: 0 });
    expect(late.points[1]).toMatchObject({ leftOut: 'the 0 s of the table are over' });
  });
});

describe('a report', () => {
  const points = withTimes([
    point('batch', 1, { 'training step': 20, forward: 10, sampling: 10 }),
    point('batch', 32, { 'training step': 10, forward: 10, sampling: 20 }),
    point('side', 256, { 'training step': 10, forward: 10 }),
    { ...point('threads', 2, { 'training step': 10, forward: 10, sampling: 10 }), architecture: 'gated' },
  ]);
  const scaling = { points, seconds: 12, failures: ['a failure'], excused: [] };
  const report = {
    ...{ date: '2026-11-28T00:00:00Z', commit: '0123456789', scaling },
    device: { name: 'A CPU', instructionSet: 'avx512', threads: 2 },
    machine: { processors: 2, loadAverage: 0.5, caches: null, coreToCore: { reason: 'no Linux' } },
  };

  it('becomes tables', () => {
    const lines = scalingMarkdown(scaling).split('\n');
    expect(lines).toContain(
      '| batch size | images of a batch | training step | forward | sampling | memory |',
    );
    expect(lines).toContain(
      '| plain, 1 | 1 of 28×28 | 20.0 ms, 25 (2.0×) | 10.0 ms, 50 | 10.0 ms, 50 | 50 MB, 1.00 |',
    );
    expect(lines).toContain('| plain, 256 | 32 of 256×256 | 10.0 ms, 50 | 10.0 ms, 50 | – | 50 MB, 1.00 |');
    expect(scalingText(scaling)).toMatch(/too slow or too large:\na failure\n\nFAILED, after 12 s$/);
    expect(scalingText({ ...scaling, failures: [] })).toMatch(/all within the bounds, after 12 s$/);
  });

  it('goes between the marks of docs/scaling.md, again and again the same', () => {
    const marks =
      '<!-- scaling tables: made by scripts/bench/scaling-plot.mjs -->\n<!-- end of scaling tables -->';
    const once: string = withScaling(`before\n${marks}\nafter\n`, report, 'r.json');
    expect(once).toContain('A CPU, avx512, 2 threads, 2026-11-28, commit 0123456, 12 s. Report: `r.json`.');
    expect(once).toContain('- core to core: not measured: no Linux\n');
    expect(once).toContain('**Outside the bounds:**\n\n- a failure\n');
    expect(once.startsWith('before\n') && once.endsWith('after\n')).toBe(true);
    expect(withScaling(once, report, 'r.json')).toBe(once);
    expect(() => withScaling('no marks', report, 'r.json')).toThrow('lacks');
  });

  it('becomes a plot with a panel per factor, whose points lie where their rates are', () => {
    const svg: string = scalingPlot(report);
    expect(svg).not.toMatch(/NaN|undefined|Infinity/);
    expect(svg.match(/class="frame"/g)).toHaveLength(5);
    for (const text of [
      'training step',
      'forward',
      'sampling',
      'plain',
      'gated',
      'images in a batch (logarithmic)',
      'live GF/s per thread',
    ])
      expect(svg).toContain(`>${text}</text>`);
    expect(svg).toContain('prefers-color-scheme: dark');
    // The batches 1 and 32 are at the ends of their panel. 25 GF/s is half as high as 50, and 60 is the end of the axis.
    const line = /<polyline class="m0 plain" points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"/
      .exec(svg)!
      .slice(1)
      .map(Number);
    const [x1, y1, x2, y2] = line as [number, number, number, number];
    const [, left, top, width, height] = /class="frame" x="(\d+)" y="(\d+)" width="(\d+)" height="(\d+)"/
      .exec(svg)!
      .map(Number);
    expect([x1, x2]).toEqual([left, left! + width!]);
    expect(y1).toBeCloseTo(top! + height! * (1 - 25 / 60), 1);
    expect(y2).toBeCloseTo(top! + height! * (1 - 50 / 60), 1);
  });
});
