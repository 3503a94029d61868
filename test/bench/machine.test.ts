// Tests how scripts/bench describes a machine: its caches, the latency between its cores, and how ops gain from threads.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { latencyLine, machineLines, measureMachine, medianLatency, readCaches, sharedCache } = await import(
  `${root}scripts/bench/machine.mjs`
);
const { speedups, speedupTable } = await import(`${root}scripts/bench/thread-speedups.mjs`);
const { ratios } = await import(`${root}scripts/bench/comparison.mjs`);

describe('caches', () => {
  const folder = temporaryFolder('caches');
  /** Writes what Linux tells of one cache of one processor. */
  const tell = (processor: number, index: number, cache: [string, string, string, string]) => {
    const path = join(folder, `cpu${processor}`, 'cache', `index${index}`);
    mkdirSync(path, { recursive: true });
    ['level', 'type', 'size', 'shared_cpu_list'].forEach((name, i) => {
      writeFileSync(join(path, name), `${cache[i]}\n`);
    });
  };
  mkdirSync(join(folder, 'cpufreq'));
  for (let processor = 0; processor < 8; processor += 1) {
    tell(processor, 0, ['1', 'Data', '32K', `${processor}`]);
    tell(processor, 1, ['1', 'Instruction', '32K', `${processor}`]);
    tell(processor, 2, ['2', 'Unified', '1024K', `${processor % 4},${(processor % 4) + 4}`]);
    tell(processor, 3, ['3', 'Unified', '32768K', processor % 4 < 2 ? '0-1,4-5' : '2-3,6-7']);
  }

  it('are read with the processors that share them', () => {
    const caches = readCaches(folder);
    expect(caches.map(({ name, size }: { name: string; size: string }) => `${name} ${size}`)).toEqual([
      ...['L1d 32K', 'L1i 32K', 'L2 1024K', 'L3 32768K'],
    ]);
    expect(caches[2].groups).toEqual([
      [0, 4],
      [1, 5],
      [2, 6],
      [3, 7],
    ]);
    expect(caches[3].groups).toEqual([
      [0, 1, 4, 5],
      [2, 3, 6, 7],
    ]);
    expect(
      [
        [0, 4],
        [0, 1],
        [0, 2],
      ].map((pair) => sharedCache(caches, pair)),
    ).toEqual(['L2', 'L3', '']);
    const pairs = [
      { processors: [0, 1], ns: 28.4 },
      { processors: [4, 5], ns: 30.6 },
      { processors: [0, 2], ns: 158.2 },
    ];
    const machine = { processors: 8, loadAverage: 0.256, caches, coreToCore: { processors: [], pairs } };
    expect(machineLines(machine)).toEqual([
      'machine: 8 usable processors, load average 0.26 at the start',
      'caches: L1d 32K (one each for processors 0 | 1 | 2 | 3, and 4 more); L1i 32K (one each for processors 0 | 1 | 2 | 3, and 4 more); L2 1024K (one each for processors 0,4 | 1,5 | 2,6 | 3,7); L3 32768K (one each for processors 0-1,4-5 | 2-3,6-7)',
      'core to core: 28 to 31 ns (2 pairs that share L3, as the system tells), 158 ns (1 pair with no shared cache, as the system tells)',
    ]);
  });

  it('are unknown where the system does not tell them', () => {
    expect(readCaches(join(folder, 'nowhere'))).toBe(null);
    expect(readCaches(join(folder, 'cpu0'))).toBe(null);
    const coreToCore = { processors: [0, 1], pairs: [{ processors: [0, 1], ns: 40 }] };
    const lines = machineLines({ processors: 1, loadAverage: 0, caches: null, coreToCore });
    expect(lines[0]).toMatch(/^machine: 1 usable processor, /);
    expect(lines[1]).toBe('caches: unknown, the system does not tell them');
    expect(lines[2]).toBe('core to core: 40 ns (1 pair, caches unknown)');
  });
});

const notBuilt = existsSync(`${root}build/core_latency`) ? undefined : 'build/core_latency is not built';
describe.skipIf(skipAloud('the latency from core to core', notBuilt))('the latency from core to core', () => {
  it('is measured for every pair of processors, or the reason is told', () => {
    const { coreToCore } = measureMachine();
    if ('reason' in coreToCore) {
      expect(coreToCore.reason).toMatch(/one processor only|Linux only/);
      return;
    }
    const { processors, pairs } = coreToCore;
    expect(processors.length).toBeGreaterThan(1);
    expect(processors.length).toBeLessThanOrEqual(8);
    expect(pairs).toHaveLength((processors.length * (processors.length - 1)) / 2);
    for (const { ns } of pairs) expect(ns).toBeGreaterThan(1);
    expect(medianLatency()).toBeGreaterThan(1);
  });
});

describe('the latency while measuring', () => {
  it('is told as a range, since a virtual machine may be moved', () => {
    expect(latencyLine([28.2, undefined, 158.4, 30])).toBe('core to core while measuring: 28 to 158 ns');
    expect(latencyLine([28.2, 28.4])).toBe('core to core while measuring: 28 ns');
    expect(latencyLine([undefined])).toBe('core to core while measuring: not measured');
  });
});

describe('ops on more threads', () => {
  const op = (label: string, name: string, milliseconds: number) => {
    return { label, op: name, count: 1, milliseconds, gflop: 0 };
  };
  const one = [
    op('weight gradient', 'maskedConv2dBackwardWeight', 97),
    op('forward', 'maskedConv2d', 84),
    op('adam', 'adam', 3),
    op('head', 'softmaxCrossEntropy', 27),
  ];
  const all = [
    op('weight gradient', 'maskedConv2dBackwardWeight', 58),
    op('forward', 'maskedConv2d', 51),
    op('adam', 'adam', 3),
    op('head', 'softmaxCrossEntropy', 17),
  ];

  it('are compared where they take more than 3% of the step, the slowest first', () => {
    const rows = speedups(one, all, 2);
    expect(rows.map(({ label, ok }: { label: string; ok: boolean }) => [label, ok])).toEqual([
      // 1.67, 1.65 and 1.59: a weight gradient must gain 1.7, the others 1.6.
      ...[
        ['weight gradient', false],
        ['forward', true],
        ['head', false],
      ],
    ]);
    expect(rows[0]).toMatchObject({ bound: 1.7, one: 97, all: 58, share: 58 / 129 });
    const text: string = speedupTable(rows, 2);
    expect(text).toContain('training step, 1 -> 2 threads, ops above 3% of the step');
    expect(text).toMatch(/weight gradient +45% of the step +97\.00 -> 58\.00 ms +1\.67 x +below 1\.70 x\n/);
    expect(text).toMatch(/forward +40% of the step +84\.00 -> 51\.00 ms +1\.65 x\n/);
    // On 4 threads the same times are far below.
    expect(speedups(one, all, 4).every(({ ok }: { ok: boolean }) => !ok)).toBe(true);
    expect(() => speedups(one.slice(1), all, 2)).toThrow("no op 'weight gradient'");
  });
});

describe('ratios', () => {
  const own = {
    'pixelcnn training step': 100,
    'pixelcnn training step, direct': 200,
    'pixelcnn forward, winograd': 50,
    'pixelcnn forward, direct': 100,
    'pixelcnn sampling 1': 5,
    'pixelcnn sampling 16': 70,
  };
  const half = {
    'pixelcnn training step, bf16': 60,
    'pixelcnn forward direct, bf16': 52,
    'pixelcnn sampling 16, bf16': 35,
  };
  const theirs = {
    'pytorch train f32 nchw of 32': 600,
    'pytorch train f32 channels_last of 32': 500,
    'pytorch train bf16 channels_last of 32': 300,
    'pytorch forward f32 nchw of 32': 200,
    'pytorch forward f32 channels_last of 32': 250,
    'pytorch forward f32 nchw of 1': 8,
    'pytorch forward f32 channels_last of 1': 9,
    'pytorch forward f32 nchw of 16': 110,
    'pytorch forward f32 channels_last of 16': 100,
    'pytorch forward bf16 channels_last of 32': 110,
  };
  const how = { batch: 32, fast: 'winograd' };

  it('are with the better of PyTorch’s layouts, in both precisions', () => {
    expect(ratios({ ...own, ...half, ...theirs }, how)).toEqual({
      'training step / pytorch f32': 5,
      'training step / pytorch bf16': 3,
      'training step bf16 / pytorch bf16': 5,
      'training step direct / pytorch f32': 2.5,
      'forward winograd / pytorch f32': 4,
      'forward winograd / pytorch bf16': 2.2,
      'forward direct bf16 / pytorch bf16': 110 / 52,
      'forward direct / pytorch f32': 2,
      'forward direct bf16 / forward direct f32': 100 / 52,
      'sampling 1 / pytorch one forward per pixel': (784 * 8) / 5,
      'sampling 16 / pytorch one forward per pixel': (784 * 100) / 70,
      'sampling 16 bf16 / pytorch f32 one forward per pixel': (784 * 100) / 35,
    });
  });

  it('leave out what was not measured', () => {
    expect(Object.keys(ratios({ ...own, ...theirs }, how)).filter((name) => /bf16 \//.test(name))).toEqual(
      [],
    );
    expect(ratios({ ...own, ...half }, how)).toEqual({
      'forward direct bf16 / forward direct f32': 100 / 52,
    });
    expect(ratios(own, how)).toEqual({});
  });
});
