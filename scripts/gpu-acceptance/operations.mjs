// Runs the parts `operations-*`: each compares every convolution op with the CPU, through the addon, in one
// precision and algorithm, and checks that the chosen engine is causal to the last bit.
import { openDevice } from '../../dist/index.js';
import { convolutionCase, runConvolution } from './convolutions.mjs';
import { attempt, relativeL2 } from './part.mjs';

// Relative L2 errors that rounding explains. The operands are exact in every precision, so only the sums and the storage
// of the results round: 2^-9 in bf16, 2^-12 in f16.
const tolerance = { f32: 1e-5, tf32: 1e-4, bf16: 2 ** -8, f16: 2 ** -11 };

/** Compares random problems. The first half has channels that are multiples of 8, which most engines need. */
export async function operations({ precision, algorithm, shapes, firstSeed, emulated, say }) {
  const count = emulated ? Math.min(3, shapes) : shapes;
  const cpu = await openDevice({ backend: 'cpu' });
  const gpu = await openDevice({ backend: 'cuda', precision });
  for (let i = 0; i < count; i += 1) {
    const problem = convolutionCase(firstSeed + i, precision, algorithm, {
      small: emulated,
      aligned: i < count / 2,
    });
    await attempt(say, { shape: problem.name, precision, algorithm }, () =>
      compare(cpu, gpu, problem, precision),
    );
  }
  await gpu.dispose();
  await cpu.dispose();
}

async function compare(cpu, gpu, problem, precision) {
  const start = performance.now();
  const expected = await runConvolution(cpu, problem, 'f32');
  const actual = await runConvolution(gpu, problem, precision);
  const errors = Object.entries(expected).map(([name, values]) => [name, relativeL2(actual[name], values)]);
  const wrong = errors.filter(([, error]) => !(error <= tolerance[precision]));
  const leak = await findLeak(gpu, problem, precision, actual.forward);
  // An engine of cuDNN that leaks is only reported. Likelihoods and samples use `direct`, which must not leak.
  const complaints = [
    ...wrong.map(([name, error]) => `${name} error ${error}`),
    ...(leak !== undefined && problem.geometry.algorithm === 'direct' ? [leak] : []),
  ];
  return {
    ...Object.fromEntries(errors),
    ...(leak === undefined ? {} : { leak }),
    seconds: (performance.now() - start) / 1000,
    ...(complaints.length === 0 ? {} : { failure: `${precision} ${problem.name}: ${complaints.join('; ')}` }),
  };
}

/** Changes all inputs from some pixel on, and returns the outputs that moved although they may not see them. */
async function findLeak(gpu, problem, precision, before) {
  const { n, h, w, c, k, maskType, channelGroups } = problem.geometry;
  const pixels = h * w;
  // The pixel is in the middle of a row, because at the end the zero border would hide a tap too many.
  const first = Math.floor(h / 2) * w + Math.ceil(w / 2);
  const blind = Math.min(pixels, first + (maskType === 'A' && channelGroups === 1 ? 1 : 0));
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
