// Tests what scripts/gpu-acceptance says about its options and parts, and the size of what a GPU machine takes
// along.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = temporaryFolder('acceptance-options');
const { parts } = await import(`${root}scripts/gpu-acceptance/parts.mjs`);

// A machine without a GPU, whatever this one has.
writeFileSync(join(folder, 'nvidia-smi'), '#!/bin/sh\nexit 1\n', { mode: 0o755 });

function run(...args: string[]) {
  const env = { ...process.env, PATH: `${folder}:${process.env.PATH}` };
  return spawnSync(`${root}scripts/gpu-acceptance/run`, args, { encoding: 'utf8', env, cwd: folder });
}

describe('the command', () => {
  it('says what it can do, and which parts there are', () => {
    expect(run('--help').stdout).toMatch(
      /^\/\/ Runs the acceptance on a GPU machine.*--minutes N.*--emulated/s,
    );
    const list = run('--list');
    expect(list.status).toBe(0);
    expect(list.stdout.trim().split('\n')).toHaveLength(parts.length);
    for (const { name, about } of parts) {
      expect(list.stdout).toMatch(new RegExp(`^${name} `, 'm'));
      expect(list.stdout).toContain(about);
    }
  });

  it.each([
    [['--only', 'speed'], /unknown part 'speed': expected some of facts, build, /],
    [['--only', ''], /unknown part ''/],
    [['--only', 'facts,gates-*'], /unknown part 'gates-\*'/],
    [['--minutes', 'ten'], /--minutes must be a number above 0, got 'ten'/],
    [['--minutes', '0'], /--minutes must be a number above 0, got '0'/],
    [['--fast'], /Unknown option '--fast'/],
    [['start'], /unknown command 'start': expected prepare, or none/],
    [
      ['--only', 'facts', '--out', join(folder, 'none.jsonl')],
      /nvidia-smi finds no GPU here, or does not answer; --emulated/,
    ],
    [['--emulated', '--only', 'facts', '--out', folder], /the report cannot be written: EISDIR/],
  ] as const)('ends with a sentence and exit code 1 for %o', (args, sentence) => {
    const { status, stderr, stdout } = run(...args);
    expect(stderr).toMatch(sentence);
    expect(stderr).not.toMatch(/\n\s+at /);
    expect([status, stdout]).toEqual([1, '']);
  });

  it('leaves out by name what does not fit into --minutes', async () => {
    const out = join(folder, 'short.jsonl');
    const { status, stderr } = run('--emulated', '--minutes', '0.001', '--out', out);
    expect(status).toBe(0);
    const { readReport } = await import(`${root}scripts/gpu-acceptance/report.mjs`);
    const report = readReport(out);
    expect([...report.parts.keys()]).toEqual(parts.map(({ name }: { name: string }) => name));
    for (const [name, part] of report.parts) {
      expect(part.status).toBe('left out');
      expect(stderr).toContain(`${name}: left out: it needs `);
    }
  });
});

describe('--only', () => {
  it('takes the beginning of names, in the order of the table', async () => {
    const out = join(folder, 'gated.jsonl');
    const { status } = run('--emulated', '--minutes', '0.001', '--only', 'gated-*,facts', '--out', out);
    expect(status).toBe(0);
    const { readReport } = await import(`${root}scripts/gpu-acceptance/report.mjs`);
    const names = parts.map(({ name }: { name: string }) => name);
    const expected = names.filter((name: string) => name === 'facts' || name.startsWith('gated-'));
    expect(expected.length).toBeGreaterThan(8);
    expect([...readReport(out).parts.keys()].filter((name) => name !== 'build')).toEqual(expected);
  });
});

describe('the parts', () => {
  it('have names of their own, and limits that are at least what they need', () => {
    expect(new Set(parts.map(({ name }: { name: string }) => name)).size).toBe(parts.length);
    for (const { seconds, limit, emulatedSeconds, emulatedLimit } of parts) {
      expect(limit).toBeGreaterThanOrEqual(seconds);
      expect(emulatedLimit).toBeGreaterThanOrEqual(emulatedSeconds);
      expect(emulatedLimit).toBeLessThanOrEqual(limit);
    }
  });

  it('of first contact fit into one run: what comes before the profile needs 6 minutes at most', () => {
    const before = parts.slice(
      0,
      parts.findIndex(({ name }: { name: string }) => name === 'profile-training'),
    );
    const sum = before.reduce((total: number, { seconds }: { seconds: number }) => total + seconds, 0);
    expect(before.length).toBeGreaterThan(10);
    expect(sum).toBeLessThanOrEqual(360);
  });
});

describe('the parts of the gated network', () => {
  const gated = parts.filter(({ name }: { name: string }) => name.startsWith('gated-'));

  it('fit into one run of 9.3 minutes with the build and 5 minutes of training', () => {
    const { seconds: build } = parts.find(({ name }: { name: string }) => name === 'build');
    const { limit: quality } = gated.at(-1);
    const others = gated.slice(0, -1);
    const sum = others.reduce((total: number, { seconds }: { seconds: number }) => total + seconds, 0);
    expect(quality).toBeGreaterThanOrEqual(300);
    expect(build + sum + quality).toBeLessThanOrEqual(9.3 * 60);
  });

  it('run the gated network, of the preset in the last', () => {
    for (const { name, options } of gated) {
      if (name === 'gated-golden') continue;
      const { architecture, preset } = options;
      expect([name, architecture ?? preset]).toEqual([
        name,
        name === 'gated-quality' ? 'mnist-gated' : 'gated',
      ]);
    }
  });
});

describe('the kit', () => {
  it('must fit beside the working tree into what can be taken along', async () => {
    const { bytesBelow, sizeProblem } = await import(`${root}scripts/gpu-acceptance/prepare.mjs`);
    const mebibyte = 2 ** 20;
    expect(sizeProblem({ '.gpu-kit': 58 * mebibyte, 'working tree': 6 * mebibyte })).toBeUndefined();
    expect(sizeProblem({ '.gpu-kit': 58 * mebibyte, 'working tree': 6 * mebibyte + 1 })).toBe(
      '.gpu-kit and working tree are 64.0 MiB, more than the 64.0 MiB that can be taken along.',
    );
    const kit = join(folder, 'kit');
    mkdirSync(join(kit, 'mnist'), { recursive: true });
    writeFileSync(join(kit, 'a'), new Uint8Array(1000));
    writeFileSync(join(kit, 'mnist', 'b'), new Uint8Array(234));
    expect(bytesBelow(kit)).toBe(1234);
  });
});

describe('the counters of a profile', () => {
  it('are read from what ncu prints, a line for each', async () => {
    const { parseCounters } = await import(`${root}scripts/gpu-acceptance/profile.mjs`);
    const header =
      '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream","Block Size","Grid Size","Device","CC","Section Name","Metric Name","Metric Unit","Metric Value"';
    const line = (id: number, kernel: string, name: string, value: string) =>
      `"${id}","1","node","127.0.0.1","${kernel}","1","7","(256, 1, 1)","(1568, 1, 1)","0","9.0","Command line profiler metrics","${name}","byte","${value}"`;
    const text = [
      '==PROF== Connected to process 1',
      '==PROF== Profiling "convolve" - 0: 0%....100% - 3 passes',
      header,
      line(0, 'void convolve<(Precision)2, a ""b"">(c)', 'dram__bytes.sum', '1,234,567'),
      line(0, 'void convolve<(Precision)2, a ""b"">(c)', 'smsp__issue_active.avg.pct', '41.5'),
      line(1, 'cross_entropy_kernel', 'dram__bytes.sum', '8'),
      '==PROF== Disconnected',
    ].join('\n');
    expect(parseCounters(text)).toEqual([
      {
        kernel: 'void convolve<(Precision)2, a "b">(c)',
        grid: '(1568, 1, 1)',
        block: '(256, 1, 1)',
        counters: { 'dram__bytes.sum': 1234567, 'smsp__issue_active.avg.pct': 41.5 },
      },
      {
        kernel: 'cross_entropy_kernel',
        grid: '(1568, 1, 1)',
        block: '(256, 1, 1)',
        counters: { 'dram__bytes.sum': 8 },
      },
    ]);
    expect(parseCounters('==ERROR== no permission')).toEqual([]);
  });
});
