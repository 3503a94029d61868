// Runs the acceptance's training check between two instruction sets of this CPU, in place of CPU and GPU.
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';
import { openDevice } from '../../src/device/device.js';
import { withEnvironment } from './cuda.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const reference = await import(`${root}scripts/gpu-acceptance/training-reference.mjs`);

/** Expects every limit of the f32 check to hold between the best instruction set and the one below it. */
export async function compareInstructionSets(problem: {
  states: number[];
  firstSteps: number;
}): Promise<void> {
  await using device = await openDevice({ backend: 'cpu' });
  const best = device.info.instructionSet;
  const below = best === 'avx512' ? 'avx2' : 'baseline';
  // Without a second one there would be nothing to compare.
  expect(best).not.toBe(below);
  const expected = await reference.trainReference(problem);
  expect(expected.losses.at(-1)).toBeLessThan(expected.losses[0]);
  await withEnvironment({ PIXELCNN_CPU_ISA: below }, async () => {
    const cpu = { backend: 'cpu' };
    const losses = await reference.firstLosses(cpu, problem, 'direct');
    expect(losses).toHaveLength(problem.firstSteps);
    const { difference, failure } = reference.compareLosses(losses, expected.losses);
    console.info(`${best} against ${below}: first losses within ${difference.toExponential(1)}`);
    expect(failure).toBeUndefined();
    expect(expected.states.map(({ at }: { at: number }) => at)).toEqual(problem.states);
    for (const state of expected.states) {
      const actual = await reference.replayState(cpu, problem, 'direct', state);
      const { loss, gradient, tensor, failure } = reference.compareState(actual, state, 'f32');
      console.info(`after ${state.at} steps: loss ${loss}, gradient of ${tensor} ${gradient}`);
      expect(failure).toBeUndefined();
      // The same bits everywhere would mean that one instruction set did both.
      expect(gradient).toBeGreaterThan(0);
    }
  });
}
