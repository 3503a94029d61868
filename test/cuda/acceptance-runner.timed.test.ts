// Tests how scripts/gpu-acceptance runs its parts: whatever one of them does, the others run and the report has all
// of it.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { isAlive } from '../helpers/processes.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = temporaryFolder('acceptance-runner');
const runner = fileURLToPath(new URL('children/acceptance-runner.mjs', import.meta.url));
const { openReport, parseReport, readReport } = await import(`${root}scripts/gpu-acceptance/report.mjs`);

interface Planted {
  name: string;
  emulatedSeconds?: number;
  emulatedLimit?: number;
  options?: object;
}

function argumentsOf(name: string, given: { parts?: Planted[]; real?: object; seconds?: number }) {
  const path = join(folder, `${name}.jsonl`);
  return { path, args: [runner, path, JSON.stringify(given)] };
}

function runPlanted(name: string, given: Parameters<typeof argumentsOf>[1]) {
  const { path, args } = argumentsOf(name, given);
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  return { status, stderr, parts: readReport(path).parts as Map<string, Result> };
}

interface Result {
  status: string;
  rows: Record<string, unknown>[];
  failures: string[];
  reason?: string;
  output?: string;
  commit: string;
  seconds: number;
}

describe('parts in processes of their own', () => {
  it('end each in its own way, and none hides another', () => {
    const names = ['good', 'refuses', 'throws', 'crashes', 'leavesOut', 'prints'];
    const { status, parts } = runPlanted('ways', { parts: names.map((name) => ({ name })) });
    expect(status).toBe(1);
    expect([...parts.keys()]).toEqual(names);
    expect(parts.get('good')).toMatchObject({ status: 'passed', rows: [{ row: 0 }], commit: 'planted' });
    expect(parts.get('refuses')).toMatchObject({
      status: 'failed',
      failures: ['a check that does not hold'],
    });
    expect(parts.get('refuses')!.rows).toHaveLength(3);
    expect(parts.get('throws')!.failures[0]).toMatch(/^Error: a planted exception\n +at throws /);
    expect(parts.get('crashes')!.rows).toEqual([{ row: 0 }]);
    expect(parts.get('crashes')!.failures[0]).toMatch(/ended by SIGABRT: [\s\S]*last words/);
    expect(parts.get('leavesOut')).toMatchObject({ status: 'left out', reason: 'a tool is not there' });
    expect(parts.get('prints')).toMatchObject({ status: 'passed', rows: [{ row: 0 }] });
  });

  it('are killed at their limit with all that they started, and the next ones run', async () => {
    const planted = [{ name: 'hangs', emulatedLimit: 4 }, { name: 'good' }];
    const { status, parts } = runPlanted('hanging', { parts: planted });
    expect(status).toBe(1);
    const { pids } = parts.get('hangs')!.rows[0] as { pids: number[] };
    expect(parts.get('hangs')).toMatchObject({ status: 'timed out', reason: 'ended by its limit of 4.0 s' });
    expect(parts.get('hangs')!.seconds).toBeLessThan(20);
    expect(parts.get('good')!.status).toBe('passed');
    expect(pids).toHaveLength(2);
    await expect.poll(() => pids.filter(isAlive), { timeout: 5000 }).toEqual([]);
  });

  it('leave in the report what a command said before it was killed with them', () => {
    const planted = [{ name: 'commandHangs', emulatedLimit: 1.5 }];
    const { parts } = runPlanted('command', { parts: planted });
    expect(parts.get('commandHangs')).toMatchObject({ status: 'timed out', rows: [{ row: 0 }] });
    expect(parts.get('commandHangs')!.output).toBe('reached shape 7\n');
  });

  it('do not hold the run by a process that they left behind', () => {
    const start = performance.now();
    const { status, parts } = runPlanted('left-behind', { parts: [{ name: 'leavesProcess' }] });
    expect(performance.now() - start).toBeLessThan(10_000);
    process.kill(parts.get('leavesProcess')!.rows[0]!.pid as number);
    expect(status).toBe(0);
  });

  it('are left out by name where the time that is left is too short, and get no more than that', () => {
    const planted = [
      { name: 'hangs', emulatedSeconds: 0.1, emulatedLimit: 60 },
      { name: 'good', emulatedSeconds: 5 },
    ];
    const { status, stderr, parts } = runPlanted('short', { parts: planted, seconds: 4 });
    expect(status).toBe(1);
    expect(parts.get('hangs')!.status).toBe('cut off');
    expect(parts.get('good')).toMatchObject({ status: 'left out', rows: [] });
    expect(parts.get('good')!.reason).toMatch(/^it needs 5 s, 0\.\d s are left$/);
    expect(stderr).toContain('good: left out: it needs 5 s');
  });

  it('have lost nothing when the runner is killed, and are gone soon after', async () => {
    const planted = [{ name: 'good', options: { count: 20_000 } }, { name: 'crashes' }, { name: 'hangs' }];
    const { path, args } = argumentsOf('killed', { parts: planted });
    const process_ = spawn(process.execPath, args, { stdio: 'ignore' });
    await expect
      .poll(() => existsSync(path) && readFileSync(path, 'utf8'), { timeout: 20_000 })
      .toContain('pids');
    process_.kill('SIGKILL');
    const text = readFileSync(path, 'utf8');
    for (const line of text.trimEnd().split('\n')) expect(() => JSON.parse(line)).not.toThrow();
    const { parts } = parseReport(text);
    expect(parts.get('good')).toMatchObject({ status: 'passed' });
    expect(parts.get('good').rows).toHaveLength(20_000);
    expect(parts.get('crashes')).toMatchObject({ status: 'failed', rows: [{ row: 0 }] });
    expect(parts.get('hangs').status).toBe('unfinished');
    const { pids } = parts.get('hangs').rows[0];
    await expect.poll(() => pids.filter(isAlive), { timeout: 5000 }).toEqual([]);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('end with their runner at %s, the report whole', async (signal) => {
    const planted = [{ name: 'good' }, { name: 'hangs' }, { name: 'prints' }];
    const { path, args } = argumentsOf(signal, { parts: planted });
    const process_ = spawn(process.execPath, args, { stdio: 'ignore' });
    const ended = new Promise<number | null>((resolve) => process_.on('exit', resolve));
    await expect
      .poll(() => existsSync(path) && readFileSync(path, 'utf8'), { timeout: 20_000 })
      .toContain('pids');
    process_.kill(signal);
    expect(await ended).toBe(signal === 'SIGTERM' ? 143 : 130);
    const { parts } = readReport(path);
    expect(parts.get('good').status).toBe('passed');
    expect(parts.get('hangs')).toMatchObject({ status: 'cut off', reason: `ended by ${signal}` });
    expect(parts.get('prints')).toMatchObject({ status: 'left out', reason: signal });
    const { pids } = parts.get('hangs').rows[0];
    await expect.poll(() => pids.filter(isAlive), { timeout: 5000 }).toEqual([]);
  });

  it('fail alone where a launch fails in one of them', () => {
    const real = {
      'training-bits': {},
      'operations-bf16-direct': { PIXELCNN_EMULATOR_FAIL_LAUNCH: '30' },
      'operations-f32-direct': {},
    };
    const { status, parts } = runPlanted('launch', { real });
    expect(status).toBe(1);
    expect([...parts].map(([name, part]) => [name, part.status])).toEqual([
      ['training-bits', 'passed'],
      ['operations-bf16-direct', 'failed'],
      ['operations-f32-direct', 'passed'],
    ]);
    const { rows, failures } = parts.get('operations-bf16-direct')!;
    expect(failures[0]).toMatch(/ERR_CUDA: .*unspecified launch failure/);
    // A row for every shape, those after the failure too.
    expect(rows.filter(({ shape }) => shape !== undefined)).toHaveLength(6);
  });

  it('tell of graphs that were refused: their comparison with ops one by one then says nothing', () => {
    const real = { 'training-speed-own': {}, 'training-bits': {} };
    const refused = { PIXELCNN_EMULATOR_REFUSE_CAPTURE: '3' };
    const graphsOf = (parts: Map<string, Result>) =>
      [...parts.values()].map(({ status, rows }) => [
        status,
        rows.find(({ graphs }) => graphs !== undefined)?.graphs,
      ]);
    expect(graphsOf(runPlanted('graphs', { real }).parts)).toEqual([
      ['passed', 'graphs'],
      ['passed', 'graphs'],
    ]);
    const without = runPlanted('refused', {
      real: { 'training-speed-own': refused, 'training-bits': refused },
    }).parts;
    expect(graphsOf(without)).toEqual([
      ['passed', expect.stringMatching(/^graphs, but op by op where programs cannot be captured/)],
      ['failed', expect.stringMatching(/^graphs, but op by op where programs cannot be captured/)],
    ]);
    expect(without.get('training-bits')!.failures[0]).toMatch(/^the steps were not recorded: graphs, but/);
  });
});

describe('the report', () => {
  const end = (part: string, status: string, failures: string[] = []) => ({
    part,
    status,
    seconds: 1,
    failures,
  });

  it('is appended to by a second run, and has the newest result of every part', () => {
    const path = join(folder, 'appended.jsonl');
    const write = (lines: object[]) => {
      const report = openReport(path);
      for (const line of lines) report.append(line);
      report.close();
    };
    write([
      { run: { commit: 'a' } },
      { part: 'x', started: '' },
      { part: 'x', value: 1 },
      end('x', 'passed'),
      { part: 'y', started: '' },
      { part: 'y', value: 1 },
      end('y', 'failed', ['f']),
      end('z', 'left out'),
    ]);
    // A run that was killed in the middle of a line, within part y.
    write([
      { run: { commit: 'b' } },
      { part: 'x', started: '' },
      { part: 'x', value: 2 },
      end('x', 'passed'),
    ]);
    writeFileSync(path, '{"part":"y","started":""}\n{"part":"y","value":2}\n{"part":"y","val', { flag: 'a' });
    write([
      { run: { commit: 'c' } },
      end('x', 'left out'),
      { part: 'z', started: '' },
      { part: 'z', value: 3 },
    ]);
    const { runs, parts } = readReport(path);
    expect(runs.map(({ commit }: { commit: string }) => commit)).toEqual(['a', 'b', 'c']);
    expect(parts.get('x')).toMatchObject({ status: 'passed', rows: [{ value: 2 }], run: { commit: 'b' } });
    expect(parts.get('y')).toMatchObject({ status: 'failed', rows: [{ value: 1 }], failures: ['f'] });
    expect(parts.get('z')).toMatchObject({
      status: 'unfinished',
      rows: [{ value: 3 }],
      run: { commit: 'c' },
    });
  });

  it('keeps an earlier result beside a part that a later run cut off, unless a check had failed by then', () => {
    const later = (failures: string[]) => [
      { run: { commit: 'b' } },
      { part: 'x', started: '' },
      ...failures.map((failure) => ({ part: 'x', failure })),
      end('x', 'cut off', failures),
    ];
    const resultOf = (failures: string[]) => {
      const lines = [{ run: { commit: 'a' } }, { part: 'x', started: '' }, end('x', 'passed')];
      const text = [...lines, ...later(failures)].map((line) => JSON.stringify(line)).join('\n');
      return parseReport(text).parts.get('x');
    };
    expect(resultOf([])).toMatchObject({ status: 'passed', run: { commit: 'a' } });
    expect(resultOf(['f'])).toMatchObject({ status: 'cut off', failures: ['f'], run: { commit: 'b' } });
  });
});
