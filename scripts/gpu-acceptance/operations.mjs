// Part `operations`: the kernel tests, then every convolution op through the addon against the CPU, in all precisions
// and by both algorithms, and causality to the last bit of whatever engine is chosen.
import { spawnSync } from 'node:child_process';
import { openDevice } from '../../dist/index.js';
import { convolutionCase, runConvolution } from './convolutions.mjs';

// Relative L2 error that rounding explains. The operands are exact in every precision, so it is that of the sums and of
// the storage of results: 2^-9 in bf16, 2^-12 in f16.
const tolerance = { f32: 1e-5, tf32: 1e-4, bf16: 2 ** -8, f16: 2 ** -11 };

export async function operations({ programs, emulated }) {
  const failures = [];
  const shapes = emulated ? 20 : 500;
  const kernels = {};
  for (const program of programs) {
    const run = spawnSync(program, [String(shapes), '1'], { encoding: 'utf8', maxBuffer: 1 << 26 });
    const name = program.split('/').at(-1);
    kernels[name] = run.stdout?.trim().split('\n').slice(-12);
    if (run.status !== 0) failures.push(`${name}: ${(run.stdout + run.stderr).trim().slice(-2000)}`);
  }

  const cpu = await openDevice({ backend: 'cpu' });
  const worst = {};
  const leaks = [];
  let seed = 1;
  for (const precision of ['f32', 'tf32', 'bf16', 'f16']) {
    const gpu = await openDevice({ backend: 'cuda', precision });
    for (const algorithm of ['direct', 'auto']) {
      const key = `${precision} ${algorithm}`;
      worst[key] = { forward: 0, gradInput: 0, gradWeight: 0, gradBias: 0 };
      // 64 shapes for each of the 8 are 512 in all.
      for (let i = 0; i < (emulated ? 2 : 64); i += 1, seed += 1) {
        const problem = convolutionCase(seed, precision, algorithm, emulated);
        const expected = await runConvolution(cpu, problem, 'f32');
        const actual = await runConvolution(gpu, problem, precision);
        for (const name of Object.keys(worst[key])) {
          const error = relativeL2(actual[name], expected[name]);
          worst[key][name] = Math.max(worst[key][name], error);
          if (!(error <= tolerance[precision]))
            failures.push(`${key} ${problem.name}: ${name} error ${error}`);
        }
        const leak = await findLeak(gpu, problem, precision, actual.forward);
        if (leak === undefined) continue;
        leaks.push(`${key} ${problem.name}: ${leak}`);
        // An engine of cuDNN that leaks is reported; likelihoods and samples are by `direct`, which must not.
        if (algorithm === 'direct') failures.push(leaks.at(-1));
      }
    }
    await gpu.dispose();
  }
  await cpu.dispose();
  return { failures, kernelShapes: shapes, convolutions: seed - 1, kernels, convolutionErrors: worst, leaks };
}

/** Changes all inputs from some pixel on; says which outputs moved that may not see them. */
async function findLeak(gpu, problem, precision, before) {
  const { n, h, w, c, k, maskType, groups } = problem.geometry;
  const pixels = h * w;
  // In the middle of a row: at its end, the zero border would hide a tap too many.
  const first = Math.floor(h / 2) * w + Math.ceil(w / 2);
  const blind = Math.min(pixels, first + (maskType === 'A' && groups === 1 ? 1 : 0));
  const x = problem.x.slice();
  for (let image = 0; image < n; image += 1)
    for (let i = (image * pixels + first) * c; i < (image + 1) * pixels * c; i += 1)
      x[i] = x[i] > 0 ? x[i] - 2 : x[i] + 2;
  const { forward: after } = await runConvolution(gpu, { ...problem, x }, precision);
  for (let image = 0; image < n; image += 1) {
    for (let i = image * pixels * k; i < (image * pixels + blind) * k; i += 1) {
      if (!Object.is(before[i], after[i])) return `output ${i} changed from ${before[i]} to ${after[i]}`;
    }
  }
  return undefined;
}

function relativeL2(actual, expected) {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < expected.length; i += 1) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}
