// Runs the parts `operations-*`: each compares the ops of convolutions and gates with the CPU, through the addon, in
// one precision and algorithm, and checks that the chosen engine is causal to the last bit.
import { openDevice } from '../../dist/index.js';
import { convolutionCase, gateCase, runConvolution, runGate } from './convolutions.mjs';
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
      compareConvolution(cpu, gpu, problem, precision),
    );
  }
  // There is one algorithm for gates.
  for (let i = 0; i < (algorithm === 'direct' ? 3 : 0); i += 1) {
    const problem = gateCase(firstSeed + i, precision, { small: emulated });
    await attempt(say, { shape: problem.name, precision }, () => compareGate(cpu, gpu, problem, precision));
  }
  await gpu.dispose();
  await cpu.dispose();
}

async function compareGate(cpu, gpu, problem, precision) {
  const actual = await runGate(gpu, problem, precision);
  const { errors, complaints } = errorsOf(actual, await runGate(cpu, problem, 'f32'), precision);
  return {
    ...errors,
    ...(complaints.length === 0 ? {} : { failure: `${precision} ${problem.name}: ${complaints.join('; ')}` }),
  };
}

/** Returns the relative error of each result, and a complaint about each that rounding does not explain. */
function errorsOf(actual, expected, precision) {
  const errors = Object.entries(expected).map(([name, values]) => [name, relativeL2(actual[name], values)]);
  const wrong = errors.filter(([, error]) => !(error <= tolerance[precision]));
  return {
    errors: Object.fromEntries(errors),
    complaints: wrong.map(([name, error]) => `${name} error ${error}`),
  };
}

async function compareConvolution(cpu, gpu, problem, precision) {
  const start = performance.now();
  const expected = await runConvolution(cpu, problem, 'f32');
  const actual = await runConvolution(gpu, problem, precision);
  const { errors, complaints } = errorsOf(actual, expected, precision);
  const leak = await findLeak(gpu, problem, precision, actual.forward);
  // An engine of cuDNN that leaks is only reported. Likelihoods and samples use `direct`, which must not leak.
  if (leak !== undefined && problem.geometry.algorithm === 'direct') complaints.push(leak);
  return {
    ...errors,
    ...(leak === undefined ? {} : { leak }),
    seconds: (performance.now() - start) / 1000,
    ...(complaints.length === 0 ? {} : { failure: `${precision} ${problem.name}: ${complaints.join('; ')}` }),
  };
}

/** Returns the first pixel that may see pixel `first`; those before it may not. */
function blindUntil({ window, channelGroups }, first, { w, pixels }) {
  const row = Math.floor(first / w);
  if (window.ownRow === 'all') return Math.min(pixels, row * w);
  if (window.ownRow === 'none') return Math.min(pixels, (row + 1) * w);
  return Math.min(pixels, first + (window.ownRow === 'left' && channelGroups === 1 ? 1 : 0));
}

/** Changes all inputs from some pixel on, and returns the outputs that moved although they may not see them. */
async function findLeak(gpu, problem, precision, before) {
  const { n, h, w, c, k } = problem.geometry;
  const pixels = h * w;
  // The pixel is in the middle of a row, because at the end the zero border would hide a tap too many.
  const first = Math.floor(h / 2) * w + Math.ceil(w / 2);
  const blind = blindUntil(problem.filter, first, { w, pixels });
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
