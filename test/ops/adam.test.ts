// Tests Adam against PyTorch's formulas in float64: bias correction, decoupled decay, clipping, average, skipped
// steps.
import { describe, expect, it } from 'vitest';
import { adam } from '../../src/ops/adam.js';
import { expectClose, expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { runOps } from '../helpers/ops.js';
import { withSeed } from '../helpers/random.js';

const device = testDevice();

interface Hyper {
  readonly rate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly decay: number;
  readonly maxNorm: number;
  readonly averageDecay: number;
}

interface State<T> {
  parameters: T;
  moment1: T;
  moment2: T;
  average: T;
  /** Gradient norm, steps taken, steps skipped, unused. */
  counters: Float64Array;
}

/** torch.optim.AdamW after torch.nn.utils.clip_grad_norm_, and an exponential moving average. */
function reference(state: State<Float64Array>, gradients: Float32Array, hyper: Hyper): void {
  const { parameters, moment1, moment2, average, counters } = state;
  counters[0] = Math.hypot(...gradients);
  counters[1] = counters[1]! + 1;
  const scale = hyper.maxNorm > 0 ? Math.min(1, hyper.maxNorm / counters[0]) : 1;
  const t = counters[1];
  for (let i = 0; i < gradients.length; i += 1) {
    const g = gradients[i]! * scale;
    moment1[i] = hyper.beta1 * moment1[i]! + (1 - hyper.beta1) * g;
    moment2[i] = hyper.beta2 * moment2[i]! + (1 - hyper.beta2) * g * g;
    const m = moment1[i]! / (1 - hyper.beta1 ** t);
    const v = moment2[i]! / (1 - hyper.beta2 ** t);
    const decayed = parameters[i]! * (1 - hyper.rate * hyper.decay);
    parameters[i] = decayed - (hyper.rate * m) / (Math.sqrt(v) + hyper.epsilon);
    average[i] = hyper.averageDecay * average[i]! + (1 - hyper.averageDecay) * parameters[i]!;
  }
}

async function step(
  state: State<Float32Array>,
  gradients: Float32Array,
  h: Hyper,
): Promise<State<Float32Array>> {
  const { rate, beta1, beta2, epsilon, decay, maxNorm, averageDecay } = h;
  const hyper = Float32Array.of(rate, beta1, beta2, epsilon, decay, maxNorm, averageDecay, 0);
  const { parameters, moment1, moment2, average, counters } = state;
  const inputs = [gradients, hyper, counters, parameters, moment1, moment2, average];
  const outputs = await runOps(device(), inputs, (r) => {
    const shape = [gradients.length];
    const operands = {
      gradients: r.input('gradients', shape),
      hyper: r.input('hyper', [8]),
      state: r.input('state', [4], 'float64'),
      parameters: r.input('parameters', shape),
      moment1: r.input('moment1', shape),
      moment2: r.input('moment2', shape),
      average: r.input('average', shape),
    };
    adam(r, 'adam', operands);
    for (const name of ['parameters', 'moment1', 'moment2', 'average', 'state'] as const)
      r.output(operands[name]);
  });
  const [p, m, v, a] = outputs.slice(0, 4).map((buffer) => new Float32Array(buffer));
  return { parameters: p!, moment1: m!, moment2: v!, average: a!, counters: new Float64Array(outputs[4]!) };
}

const base: Hyper = {
  rate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  decay: 0,
  maxNorm: 0,
  averageDecay: 0,
};
const arrays = ['parameters', 'moment1', 'moment2', 'average'] as const;

describe('adam', () => {
  it.each([
    { what: 'plain', hyper: base, count: 300 },
    { what: 'one parameter', hyper: base, count: 1 },
    { what: 'several chunks', hyper: base, count: 40_001 },
    { what: 'large epsilon', hyper: { ...base, epsilon: 0.1 }, count: 77 },
    { what: 'weight decay', hyper: { ...base, decay: 0.3, rate: 0.02 }, count: 300 },
    { what: 'clipping', hyper: { ...base, maxNorm: 0.5 }, count: 300 },
    { what: 'a norm below the clipping limit', hyper: { ...base, maxNorm: 1e6 }, count: 300 },
    { what: 'average', hyper: { ...base, averageDecay: 0.9 }, count: 300 },
    {
      what: 'all at once',
      hyper: { ...base, beta1: 0.8, beta2: 0.95, decay: 0.1, maxNorm: 2, averageDecay: 0.99 },
      count: 1000,
    },
  ])('$what: 6 steps as PyTorch', async ({ hyper, count }) => {
    await withSeed(count, async (random, at) => {
      const start = random.normals(count);
      const zeros = () => new Float32Array(count);
      let state: State<Float32Array> = {
        parameters: start,
        moment1: zeros(),
        moment2: zeros(),
        average: start.slice(),
        counters: new Float64Array(4),
      };
      const expected: State<Float64Array> = {
        parameters: Float64Array.from(start),
        moment1: new Float64Array(count),
        moment2: new Float64Array(count),
        average: Float64Array.from(start),
        counters: new Float64Array(4),
      };
      for (let t = 1; t <= 6; t += 1) {
        at(`step ${t}`);
        const gradients = random.normals(count, 10 ** random.int(-3, 1));
        state = await step(state, gradients, hyper);
        reference(expected, gradients, hyper);
        for (const name of arrays) {
          // Of the moments' (1 - beta) float32 keeps 5 digits: 1 - fl(0.999) is 1.3e-5 from 0.001.
          const limit = name.startsWith('moment') ? 3e-5 : 1e-6;
          expectClose(name, state[name], expected[name], limit);
        }
        const moved = (values: ArrayLike<number>) =>
          Float64Array.from(values, (value, i) => value - start[i]!);
        // A small update is known no better than the rounding of the parameters it moved.
        const rounding = (t * 2 ** -24 * Math.hypot(...start)) / Math.hypot(...moved(expected.parameters));
        expectClose('update', moved(state.parameters), moved(expected.parameters), 2e-4 + rounding);
        expect(state.counters[0]! / expected.counters[0]!).toBeCloseTo(1, 10);
        expect([...state.counters.subarray(1, 3)]).toEqual([t, 0]);
      }
    });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY])(
    'a gradient of %d skips the step, counts it and changes nothing else',
    async (bad) => {
      await withSeed(8, async (random) => {
        const count = 20_000;
        const gradients = random.normals(count);
        gradients[17_000] = bad;
        const before: State<Float32Array> = {
          parameters: random.normals(count),
          moment1: random.normals(count),
          moment2: random.normals(count).map(Math.abs),
          average: random.normals(count),
          counters: Float64Array.of(0, 4, 1, 0),
        };
        const after = await step(before, gradients, { ...base, decay: 0.1, averageDecay: 0.9, maxNorm: 1 });
        for (const name of arrays) expectSameBits(name, after[name], before[name]);
        expect([...after.counters.subarray(1, 3)]).toEqual([4, 2]);
        expect(Number.isFinite(after.counters[0])).toBe(false);
      });
    },
  );

  it('gradients of 0 leave parameters and moments at 0 exactly', async () => {
    const zeros = () => new Float32Array(10);
    let state: State<Float32Array> = {
      parameters: zeros(),
      moment1: zeros(),
      moment2: zeros(),
      average: zeros(),
      counters: new Float64Array(4),
    };
    for (let t = 0; t < 20; t += 1) state = await step(state, zeros(), { ...base, decay: 0.1, maxNorm: 1 });
    for (const name of arrays) expectSameBits(name, state[name], zeros());
    expect(state.counters[1]).toBe(20);
  });
});
