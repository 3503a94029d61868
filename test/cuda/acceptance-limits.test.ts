// Tests the limits of the acceptance's training check: two instruction sets of the CPU keep them, a wrong gradient
// does not.
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { compareInstructionSets } from '../helpers/acceptance-training.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { compareLosses, compareState, trainingProblem } = await import(
  `${root}scripts/gpu-acceptance/training-reference.mjs`
);

describe('the limits of the training check', () => {
  it('are kept between two instruction sets of the CPU', async () => {
    // Wide enough for the instruction sets to sum in different orders: on the tiny model AVX-512 has the bits of AVX2.
    const model = { hiddenChannels: 40, layers: 3, levels: 64, kernelSize: 5 };
    await compareInstructionSets({ ...trainingProblem({ emulated: true }), model });
  });

  it('are kept by the gated network too', async () => {
    const problem = trainingProblem({ emulated: true, architecture: 'gated' });
    const model = { architecture: 'gated', hiddenChannels: 24, layers: 3, levels: 16 };
    await compareInstructionSets({ ...problem, model });
  });

  const gradients = (scale: number, noise: number) =>
    new Map(
      ['net.0.weight', 'net.0.bias'].map((name, tensor) => [
        name,
        {
          data: Float32Array.from(
            { length: 400 },
            (_, i) => Math.sin(i) * (tensor === 0 ? scale : 1) * (1 + noise * Math.cos(7 * i)),
          ),
        },
      ]),
    );
  const expected = { at: 0, loss: 4000, gradients: gradients(1, 0) };

  it.each(['f32', 'bf16', 'f16'])(
    'are missed in %s by one gradient tensor that is 1.03 times what it should be',
    (precision) => {
      const noise = precision === 'f32' ? 1e-6 : precision === 'f16' ? 1e-3 : 1e-2;
      expect(
        compareState({ loss: 4000, gradients: gradients(1, noise) }, expected, precision),
      ).not.toHaveProperty('failure');
      const { failure, tensor } = compareState(
        { loss: 4000, gradients: gradients(1.03, noise) },
        expected,
        precision,
      );
      expect(failure).toMatch(
        new RegExp(`^${precision}, after 0 steps: gradient of net.0.weight differs by 0\\.0(29|3)`),
      );
      expect(tensor).toBe('net.0.weight');
    },
  );

  it('are missed in every precision by a gradient of a gated network that is 1.1 times what it should be', () => {
    const gated = { ...expected, architecture: 'gated' };
    for (const precision of ['f32', 'bf16', 'f16']) {
      const noise = precision === 'f32' ? 1e-6 : 1e-2;
      const compare = (scale: number) =>
        compareState({ loss: 4000, gradients: gradients(scale, noise) }, gated, precision);
      expect(compare(1)).not.toHaveProperty('failure');
      expect(compare(1.1).failure).toMatch(/gradient of net.0.weight differs by 0\.(1|09)/);
    }
    // A plain network is held to less in bf16.
    const other = { loss: 4000, gradients: gradients(1.05, 1e-2) };
    expect(compareState(other, gated, 'bf16')).not.toHaveProperty('failure');
    expect(compareState(other, expected, 'bf16').failure).toContain('limit 0.02');
  });

  it('are missed by another loss and by NaN', () => {
    const state = (loss: number, noise: number) => ({ loss, gradients: gradients(1, noise) });
    expect(compareState(state(4000.1, 0), expected, 'f32').failure).toContain('loss differs');
    expect(compareState(state(4020, 0), expected, 'bf16').failure).toContain('loss differs');
    expect(compareState(state(Number.NaN, 0), expected, 'bf16').failure).toContain('loss differs by NaN');
    expect(compareState(state(4000, Number.NaN), expected, 'bf16').failure).toContain('differs by NaN');
    expect(compareLosses([1, 2, 3.00001], [1, 2, 3]).failure).toContain('limit 0.000001');
    expect(compareLosses([1, Number.NaN], [1, 2]).failure).toContain('differ by NaN');
    expect(compareLosses([1, 2], [1, 2 + 1e-9, 7])).not.toHaveProperty('failure');
  });
});
