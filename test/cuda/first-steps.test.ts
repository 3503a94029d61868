// Tests the first steps on a GPU: choosing convolutions takes time and says so, and a program that cannot be
// captured into a graph runs op by op and says so.
import { describe, expect, it } from 'vitest';
import { whileChoosing } from '../../src/train/choosing.js';
import { runChild } from '../helpers/child.js';
import { emulatedLibrary, realGpu } from '../helpers/cuda.js';

async function firstSteps(variables: Readonly<Record<string, string>> = {}) {
  const { stdout, stderr, code } = await runChild('cuda/children/first-steps.mjs', {
    env: { PIXELCNN_CUDA_LIBRARY: emulatedLibrary, ...variables },
    timeout: 100_000,
  });
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

describe.skipIf(realGpu)('a program that cannot be captured', () => {
  it('runs op by op, with the same bits, and the trace and the device say so', {
    timeout: 120_000,
  }, async () => {
    const captured = await firstSteps();
    expect(captured.graphs).toBe('graphs');
    expect(captured.trace.some((op: object) => 'opByOp' in op)).toBe(false);

    const refused = await firstSteps({ PIXELCNN_EMULATOR_REFUSE_CAPTURE: '3' });
    expect(refused.graphs).toMatch(
      /^graphs, but op by op where programs cannot be captured \(1 so far\): op \d+ \(/,
    );
    expect(refused.trace).toHaveLength(captured.trace.length);
    for (const op of refused.trace) expect(op.opByOp).toMatch(/^op \d+ \(.*capturing/);
    expect(refused.losses).toEqual(captured.losses);
    expect(refused.gradients).toBe(captured.gradients);
  });

  it('is told apart from graphs that are turned off', { timeout: 120_000 }, async () => {
    const { graphs, trace } = await firstSteps({ PIXELCNN_GRAPHS: '0' });
    expect(graphs).toBe('op by op: PIXELCNN_GRAPHS=0');
    expect(trace.some((op: object) => 'opByOp' in op)).toBe(false);
  });
});

describe('choosing convolutions', () => {
  it.skipIf(realGpu)('is told while the first step waits for it', { timeout: 120_000 }, async () => {
    const { choosing, cudnn } = await firstSteps({
      PIXELCNN_CUDA_LIBRARY: emulatedLibrary.replace('_plain', '_choosing'),
      PIXELCNN_STANDIN_MILLISECONDS: '400',
      LD_LIBRARY_PATH: emulatedLibrary.replace(/[^/]*$/, 'driver-standin'),
    });
    expect(cudnn).toMatch(/^stand-in/);
    const counts = choosing.map(({ made }: { made: number }) => made);
    // Of the first two layers the forward passes and weight gradients, of the second the input gradient. The head is part
    // of the loss.
    expect(new Set(choosing.map(({ of }: { of: number }) => of))).toEqual(new Set([5]));
    expect(counts.length).toBeGreaterThan(2);
    expect(counts).toEqual([...new Set(counts)].sort((a, b) => Number(a) - Number(b)));
  });

  it('is not told of a step that is slow for another reason, nor after its end', async () => {
    const told: object[] = [];
    const choices = { made: 3, of: 3 };
    const slow = new Promise<string>((resolve) => setTimeout(() => resolve('done'), 1200));
    expect(await whileChoosing({ choices }, slow, (now) => told.push(now))).toBe('done');
    expect(told).toEqual([]);
    await whileChoosing({ choices: { made: 0, of: 3 } }, Promise.resolve(1), (now) => told.push(now));
    await new Promise((resolve) => setTimeout(resolve, 700));
    expect(told).toEqual([]);
  });
});
