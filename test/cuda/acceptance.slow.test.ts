// Tests scripts/gpu-acceptance on the emulated GPU: all parts end in time and pass, fail with planted bugs, and
// leave a report when they are killed.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { compareInstructionSets } from '../helpers/acceptance-training.js';
import { emulatedLibrary, withEnvironment } from '../helpers/cuda.js';
import { isAlive } from '../helpers/processes.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = temporaryFolder('acceptance');
const command = `${root}scripts/gpu-acceptance/run`;
const { parts } = await import(`${root}scripts/gpu-acceptance/parts.mjs`);
const { parseReport, readReport } = await import(`${root}scripts/gpu-acceptance/report.mjs`);
const reference = await import(`${root}scripts/gpu-acceptance/training-reference.mjs`);
const names: string[] = parts.map(({ name }: { name: string }) => name);
/** Those that ask for what is not there without a GPU: cuDNN, its plans, counters, and tools of the sanitizer. */
const onlyOnGpu =
  /^(info|(gated-)?training-speed|trace)-cudnn$|^plan-cache$|^profile-|^(race|sync|init)check$/;

function accept(name: string, args: string[], variables: Record<string, string> = {}) {
  const library = variables.PIXELCNN_CUDA_LIBRARY ?? emulatedLibrary;
  expect(existsSync(library), `${library} is missing: run scripts/build/setup.mjs --tests`).toBe(true);
  const out = join(folder, `${name}.jsonl`);
  const env = { ...process.env, PIXELCNN_CUDA_LIBRARY: library, ...variables };
  const start = performance.now();
  const run = spawnSync(command, ['--emulated', '--out', out, ...args], { encoding: 'utf8', env });
  return { ...run, out, seconds: (performance.now() - start) / 1000, ...readReport(out) };
}

const statuses = (report: { parts: Map<string, { status: string }> }) =>
  Object.fromEntries([...report.parts].map(([name, { status }]) => [name, status]));

describe('scripts/gpu-acceptance', () => {
  it('does all parts on the emulated GPU within --minutes 3', { timeout: 300_000 }, () => {
    const run = accept('green', ['--minutes', '3']);
    expect(run.status, run.stderr).toBe(0);
    expect(run.seconds).toBeLessThan(180);
    expect(Object.keys(statuses(run))).toEqual(names);
    for (const [name, status] of Object.entries(statuses(run))) {
      if (onlyOnGpu.test(name)) expect([name, status]).toEqual([name, 'left out']);
      else if (/^(gated-)?pytorch-/.test(name)) expect(['passed', 'left out']).toContain(status);
      else expect([name, status]).toEqual([name, 'passed']);
    }
    expect(run.runs).toMatchObject([{ emulated: true, gpu: { name: 'CUDA emulator' }, minutes: '3' }]);
    const rows = (part: string) => run.parts.get(part).rows;
    const found = (part: string, field: string) =>
      rows(part).flatMap((row: Record<string, unknown>) => row[field] ?? []);
    for (const part of ['training-speed-own', 'sampling-speed-own'].flatMap((name) => [
      name,
      `gated-${name}`,
    ])) {
      expect(found(part, 'imagesPerSecond')).toHaveLength(2);
      for (const rate of found(part, 'imagesPerSecond')) expect(rate).toBeGreaterThan(0);
    }
    expect(found('trace-own', 'ops').length).toBeGreaterThan(8);
    expect(found('gated-trace-own', 'ops').length).toBeGreaterThan(30);
    for (const part of ['training-speed-own', 'sampling-speed-own', 'trace-own', 'training-bits'])
      expect([part, found(part, 'graphs')]).toEqual([part, ['graphs']]);
    for (const [sampling, checks] of [
      ['sampling', 5],
      ['gated-sampling', 2 * 5],
    ] as const)
      expect(
        rows(sampling).filter(({ differing }: { differing?: number }) => differing === 0),
        sampling,
      ).toHaveLength(checks);
    for (const training of ['training', 'gated-training'])
      expect(
        rows(training).filter(({ check }: { check?: string }) => check === 'gradients'),
        training,
      ).toHaveLength(12);
    expect(rows('gated-golden').map(({ precision }: { precision: string }) => precision)).toEqual([
      'f32',
      'tf32',
      'f16',
      'bf16',
    ]);
    for (const [quality, levels, least] of [
      ['quality', 4, 10],
      ['gated-quality', 2, 5],
    ] as const) {
      const { nats, steps } = rows(quality).at(-1);
      // Worse would be no better than chance: 25 pixels.
      expect(nats, quality).toBeLessThan(25 * Math.log(levels));
      expect(steps, quality).toBeGreaterThan(least);
    }
    expect(rows('gated-quality').at(-1).preset).toBe('mnist-gated');
    expect(run.stderr).toContain('\ntraining, own kernels, batch 1: ');
    expect(run.stderr).toContain('\ngated training, own kernels, batch 1: ');
    expect(run.stderr).toContain('\ngated sampling, batch 2: ');
  });

  it('is red with a planted bug in its kernels: the next tap', { timeout: 300_000 }, () => {
    const red = names.filter((name) =>
      /^operations-|^(gated-)?(training|sampling)$|^gated-golden$/.test(name),
    );
    const run = accept('red', ['--only', [...red, 'facts', 'info-cudnn'].join()], {
      PIXELCNN_CUDA_LIBRARY: `${root}build/libpixelcnn_cuda_emulated_planted.so`,
    });
    expect(run.status).toBe(1);
    expect(statuses(run)).toEqual({
      facts: 'passed',
      'info-cudnn': 'left out',
      ...Object.fromEntries(red.map((name) => [name, 'failed'])),
    });
    const failures = (part: string): string => run.parts.get(part).failures.join('\n');
    expect(failures('operations-f32-direct')).toMatch(/^f32 .*forward error /m);
    expect(failures('operations-f32-direct')).toMatch(/output \d+ changed from /);
    expect(failures('training')).toMatch(/^f32, after 0 steps: .*gradient of net.0.weight differs by/m);
    expect(failures('training')).toMatch(/^the first 8 losses differ by/m);
    expect(failures('sampling')).toMatch(/logits are not those of a forward pass/);
  });

  it('is red with a planted bug in the gates, where there are gates', { timeout: 600_000 }, () => {
    const gates = names.filter((name) => /^operations-.*-direct$/.test(name));
    const networks = ['gated-golden', 'gated-sampling', 'gated-training'];
    const green = ['facts', 'sampling', 'training', 'operations-f32-auto'];
    const run = accept('gates', ['--only', [...gates, ...networks, ...green].join()], {
      PIXELCNN_CUDA_LIBRARY: `${root}build/libpixelcnn_cuda_emulated_gates-of-the-neighbours.so`,
    });
    expect(run.status).toBe(1);
    expect(statuses(run)).toEqual({
      ...Object.fromEntries(green.map((name) => [name, 'passed'])),
      ...Object.fromEntries([...gates, ...networks].map((name) => [name, 'failed'])),
    });
    const failures = (part: string): string => run.parts.get(part).failures.join('\n');
    expect(failures('operations-bf16-direct')).toMatch(/^bf16 gate .*: gate error /m);
    for (const precision of ['f32', 'tf32', 'f16', 'bf16']) {
      expect(failures('gated-golden')).toMatch(
        new RegExp(`^${precision}: logits differ by .*gradients differ`, 'm'),
      );
      expect(failures('gated-sampling')).toMatch(
        new RegExp(`^${precision}: \\d+ of \\d+ logits are not those of a forward pass`, 'm'),
      );
    }
    expect(failures('gated-training')).toMatch(
      /^f32, after 0 steps: .*gradient of layers.0.vertical.weight/m,
    );
  });

  it('has one red part where one launch of all fails', { timeout: 300_000 }, () => {
    const chosen = names.filter((name) => /^(?!gated-).*-own$|^training|^sampling$|^operations-/.test(name));
    const run = accept('launch', ['--only', chosen.join()], {
      PIXELCNN_EMULATOR_FAIL_LAUNCH: '100',
      PIXELCNN_EMULATOR_FAIL_ONCE: join(folder, 'failed'),
    });
    expect(run.status).toBe(1);
    const red = [...run.parts].filter(([, { status }]) => status === 'failed');
    expect(red.map(([name]) => name)).toEqual(['sampling-speed-own']);
    expect(red[0]![1].failures.join('\n')).toContain('unspecified launch failure');
    expect([...run.parts.values()].filter(({ status }) => status === 'passed').length).toBeGreaterThan(10);
  });

  it('has lost nothing when it is killed, and what runs is gone', { timeout: 120_000 }, async () => {
    const out = join(folder, 'killed.jsonl');
    const run = spawn(command, ['--emulated', '--out', out], { stdio: 'ignore' });
    const text = () => (existsSync(out) ? readFileSync(out, 'utf8') : '');
    await expect.poll(text, { timeout: 60_000 }).toContain('{"part":"sampling","started"');
    const children = readFileSync(`/proc/${run.pid}/task/${run.pid}/children`, 'utf8')
      .trim()
      .split(' ')
      .map(Number);
    run.kill('SIGKILL');
    expect(children).toHaveLength(1);
    await expect.poll(() => children.filter(isAlive), { timeout: 5000 }).toEqual([]);
    const lines = text().trimEnd().split('\n');
    for (const line of lines) expect(() => JSON.parse(line)).not.toThrow();
    const ended = [...parseReport(text()).parts].filter(([, { status }]) => status !== 'unfinished');
    expect(ended.map(([name]) => name)).toEqual(names.slice(0, names.indexOf('sampling')));
    const again = accept('killed', ['--only', 'sampling']);
    expect(again.runs).toHaveLength(2);
    expect(again.parts.get('sampling').status).toBe('passed');
    expect(again.parts.get('trace-own').status).toBe('passed');
  });
});

describe('the limits of the training check, on the problem of a real GPU', () => {
  it('are kept between two instruction sets of the CPU', { timeout: 600_000 }, async () => {
    await compareInstructionSets(reference.trainingProblem({ emulated: false }));
  });

  it.each([
    ['plain', /loss differs by .*gradient of net.12.weight/],
    ['gated', /loss differs by .*gradient of layers.0.skip.weight/],
  ])(
    'are kept by the emulated GPU in f32, bf16 and f16, and TF32 is not f32: %s',
    {
      timeout: 1_800_000,
    },
    async (architecture, missed) => {
      const problem = { ...reference.trainingProblem({ emulated: false, architecture }), states: [0, 200] };
      const { states } = await reference.trainReference(problem);
      const compare = async (state: { at: number }, precision: string, limits: string) => {
        const actual = await reference.replayState({ backend: 'cuda', precision }, problem, 'direct', state);
        const found = reference.compareState(actual, state, limits);
        console.info(`${precision}, after ${state.at} steps: ${JSON.stringify(found)}`);
        return found;
      };
      await withEnvironment({ PIXELCNN_CUDA_LIBRARY: emulatedLibrary }, async () => {
        for (const precision of ['bf16', 'f16']) {
          for (const state of states) {
            const { failure, gradient } = await compare(state, precision, precision);
            expect(failure).toBeUndefined();
            // A precision that is ignored would pass the line above.
            expect(gradient).toBeGreaterThan(1e-3);
          }
        }
        expect(await compare(states[1], 'f32', 'f32')).not.toHaveProperty('failure');
        expect((await compare(states[1], 'tf32', 'f32')).failure).toMatch(missed);
      });
    },
  );
});
