// Tests that a training step launches the kernels that the cost model predicts, as the emulated GPU logs them.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runChild } from '../helpers/child.js';
import { emulatedLibrary, realGpu } from '../helpers/cuda.js';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const folder = fileURLToPath(new URL('../../scripts/gpu-acceptance/', import.meta.url));
const temporary = temporaryFolder('predict-launches');
const { trainingOps } = await import(`${folder}training-kernels.mjs`);
const { h100 } = await import(`${folder}gpu-model.mjs`);

const [batch, side] = [2, 5];

/** The kernels that one training step launches, by name, without their template arguments. */
async function launched(model: object): Promise<Map<string, number>> {
  const log = path.join(temporary, 'launches');
  const { stdout, stderr, code } = await runChild('cuda/children/launches.mjs', {
    args: [JSON.stringify(model), String(batch), String(side)],
    env: { PIXELCNN_CUDA_LIBRARY: emulatedLibrary, PIXELCNN_EMULATOR_LOG: log, PIXELCNN_GRAPHS: '0' },
    timeout: 100_000,
  });
  expect([code, stderr]).toEqual([0, '']);
  // The convolution with an addend is a kernel beside that without.
  const nameOf = (logged: string) => logged.replace(/^\(+|<.*|\)+$/g, '').replace(/_and_add$/, '');
  return counts(JSON.parse(stdout).map(nameOf));
}

function counts(names: readonly string[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const name of names) found.set(name, (found.get(name) ?? 0) + 1);
  return found;
}

/** Which kernel of cuda/ a row of the predictions stands for. */
const kernelOf: readonly (readonly [RegExp, string])[] = [
  [/forward$|input gradient$/, 'convolve'],
  [/weight gradient$/, 'weight_gradient'],
  [/^pack weights$/, 'pack_filters'],
  [/unpack$/, 'unpack_filters'],
  [/^gate$/, 'gate_images'],
  [/^gate gradient$/, 'gate_gradient'],
  [/^sum of gradients$/, 'accumulate_kernel'],
];

function predicted(model: object): Map<string, number> {
  const shape = { model, batch, height: side, width: side, convolutions: 'own' };
  const rows: string[] = trainingOps(shape, h100).flatMap(({ kernels }: { kernels: { name: string }[] }) =>
    kernels.map(({ name }) => name),
  );
  return counts(rows.map((row) => kernelOf.find(([pattern]) => pattern.test(row))?.[1] ?? row));
}

const total = (all: ReadonlyMap<string, number>) => [...all.values()].reduce((sum, count) => sum + count, 0);

const reason = realGpu ? 'a real GPU does not tell what was launched' : undefined;
describe.skipIf(skipAloud('launches of a training step', reason))('a training step', () => {
  it.each([
    { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 },
    { architecture: 'gated', hiddenChannels: 8, layers: 3, levels: 4 },
    { architecture: 'gated', channels: 3, hiddenChannels: 9, layers: 2, levels: 2, headChannels: 5 },
  ])('of %o launches what is predicted', async (model) => {
    const [real, expected] = [await launched(model), predicted(model)];
    for (const [, kernel] of kernelOf)
      expect([kernel, real.get(kernel)]).toEqual([kernel, expected.get(kernel)]);
    expect(total(real)).toBe(total(expected));
  });
});
