// Tests that training steps and sampling launch the kernels that the cost model predicts, as the emulated GPU logs
// them.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { frontSteps } from '../../src/program/front.js';
import { runChild } from '../helpers/child.js';
import { emulatedLibrary, realGpu } from '../helpers/cuda.js';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const folder = fileURLToPath(new URL('../../scripts/gpu-acceptance/', import.meta.url));
const temporary = temporaryFolder('predict-launches');
const { trainingOps } = await import(`${folder}training-kernels.mjs`);
const { recordedFront } = await import(`${folder}recorded-programs.mjs`);
const { h100 } = await import(`${folder}gpu-model.mjs`);

const [batch, side] = [2, 5];

/** How often a training step and drawing an image launch each kernel; names are without template arguments. */
async function launched(model: object): Promise<Record<'training' | 'sampling', Map<string, number>>> {
  const log = path.join(temporary, 'launches');
  const { stdout, stderr, code } = await runChild('cuda/children/launches.mjs', {
    args: [JSON.stringify(model), String(batch), String(side)],
    env: { PIXELCNN_CUDA_LIBRARY: emulatedLibrary, PIXELCNN_EMULATOR_LOG: log, PIXELCNN_GRAPHS: '0' },
    timeout: 100_000,
  });
  expect([code, stderr]).toEqual([0, '']);
  // The convolution with an addend is a kernel beside that without.
  const nameOf = (logged: string) => logged.replace(/^\(+|<.*|\)+$/g, '').replace(/_and_add$/, '');
  const { training, sampling } = JSON.parse(stdout) as Record<string, string[]>;
  return { training: counts(training!.map(nameOf)), sampling: counts(sampling!.map(nameOf)) };
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
  [/^conditional gate$/, 'conditional_gate'],
  [/^conditional gate gradient$/, 'conditional_gate_gradient'],
  [/^add condition$/, 'add_condition_kernel'],
  [/^sum of pixels$/, 'sum_pixels_kernel'],
  [/^embedding$/, 'embedding_kernel'],
  [/^embedding gradient$/, 'embedding_gradient_kernel'],
  [/^cast$/, 'cast_kernel'],
  [/^sum of gradients$/, 'accumulate_kernel'],
];

function predicted(model: object): Map<string, number> {
  const shape = { model, batch, height: side, width: side, convolutions: 'own' };
  const rows: string[] = trainingOps(shape, h100).flatMap(({ kernels }: { kernels: { name: string }[] }) =>
    kernels.map(({ name }) => name),
  );
  return counts(rows.map((row) => kernelOf.find(([pattern]) => pattern.test(row))?.[1] ?? row));
}

/** The kernels of ops that draw an image. Each front launches every op once, and a batch begins with those of row 0. */
function predictedOfSampling(model: object): Map<string, number> {
  const { ops, firstRow, passes } = recordedFront({ model, batch: 1, height: side, width: side });
  const kernels: Record<string, string> = {
    maskedConv2d: 'convolve',
    gatedActivation: 'gate_region',
    addCondition: 'add_condition_kernel',
    embedding: 'embedding_kernel',
    cast: 'cast_kernel',
    sampleFront: 'sample_front_kernel',
  };
  const namesOf = (recorded: { op: string; fields: { condition?: object | null } }[]) =>
    recorded.map(({ op, fields }) => {
      const conditional = op === 'gatedActivation' && fields.condition !== null;
      return conditional ? 'conditional_gate' : (kernels[op] ?? op);
    });
  const fronts = Array.from({ length: frontSteps(passes.front, side, side) }, () => namesOf(ops));
  return counts([...fronts.flat(), ...namesOf(firstRow)]);
}

const total = (all: ReadonlyMap<string, number>) => [...all.values()].reduce((sum, count) => sum + count, 0);

const sideBySide = {
  architecture: 'gated',
  hiddenChannels: 8,
  layers: 2,
  levels: 2,
  kernelSize: 1,
  firstKernelSize: 3,
};

it('rows are drawn side by side in the case for that', () => {
  const { firstRow, passes } = recordedFront({ model: sideBySide, batch: 1, height: side, width: side });
  expect(passes.front.slope).toBe(2);
  expect(firstRow.length).toBeGreaterThan(0);
});

const reason = realGpu ? 'a real GPU does not tell what was launched' : undefined;
describe.skipIf(skipAloud('launches of programs', reason))('a training step and a sampler', () => {
  it.each([
    { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 },
    { architecture: 'gated', hiddenChannels: 8, layers: 3, levels: 4 },
    { architecture: 'gated', channels: 3, hiddenChannels: 9, layers: 2, levels: 2, headChannels: 5 },
    { architecture: 'gated', hiddenChannels: 8, layers: 2, levels: 2, kernelSize: 3, firstKernelSize: 3 },
    // This one sees 2 pixels to the right, so that rows of 5 are drawn side by side. The others compute whole rows.
    sideBySide,
    { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3, condition: { classes: 3 } },
    { architecture: 'gated', hiddenChannels: 8, layers: 3, levels: 4, condition: { features: 2 } },
    { ...sideBySide, condition: { map: 2 } },
  ])('of %o launch what is predicted', async (model) => {
    const { training, sampling } = await launched(model);
    const expected = predicted(model);
    for (const [, kernel] of kernelOf)
      expect([kernel, training.get(kernel)]).toEqual([kernel, expected.get(kernel)]);
    expect(total(training)).toBe(total(expected));
    for (const [kernel, count] of predictedOfSampling(model))
      expect([kernel, sampling.get(kernel)]).toEqual([kernel, count]);
  });
});
