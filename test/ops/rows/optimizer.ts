// Defines the rows of the optimizer in the table of tested ops.
import type { OpCase, OpRow, TestTensor } from '../../helpers/op-row.js';

export const gradientNormRow: OpRow = {
  op: 'gradientNorm',
  cases: 12,
  draw(random): OpCase {
    const count = random.int(1, 60_000);
    return {
      text: `${count} gradients`,
      inputs: {
        gradients: { shape: [count], type: 'float32', values: random.normals(count) },
        state: { shape: [4], type: 'float64', values: [7, random.int(0, 9), random.int(0, 9), 0] },
      },
      record(r, { gradients, state }) {
        const fields = { count, gradients: gradients!, state: state! };
        r.emit({ op: 'gradientNorm', label: 'norm', fields, result: state! });
        return { state: state! };
      },
      reference({ gradients, state }) {
        const norm = Math.sqrt(Array.from(gradients!).reduce((sum, value) => sum + value * value, 0));
        return { state: [norm, ...Array.from(state!).slice(1)] };
      },
    };
  },
};

const arrays = ['parameters', 'moment1', 'moment2', 'average'] as const;

export const adamRow: OpRow = {
  op: 'adam',
  cases: 16,
  draw(random, index): OpCase {
    const count = random.int(1, 4000);
    const steps = random.int(0, 20);
    const gradients = random.normals(count);
    const norm = Math.hypot(...gradients);
    const finite = index % 5 !== 4;
    const normal = (scale = 1): TestTensor => {
      return { shape: [count], type: 'float32', values: random.normals(count, scale) };
    };
    const positive = Float32Array.from(random.normals(count), Math.abs);
    const hyper = [
      0.01,
      0.9,
      0.99,
      1e-3,
      random.pick([0, 0.1]),
      random.pick([0, norm / 2]),
      random.pick([0, 0.9]),
      0,
    ];
    return {
      text: `${count} parameters, ${steps} steps before, hyperparameters ${hyper.join(' ')}`,
      inputs: {
        gradients: { shape: [count], type: 'float32', values: gradients },
        hyper: { shape: [8], type: 'float32', values: hyper },
        state: {
          shape: [4],
          type: 'float64',
          values: [finite ? norm : Number.POSITIVE_INFINITY, steps, 3, 0],
        },
        parameters: normal(),
        moment1: normal(0.1),
        moment2: { shape: [count], type: 'float32', values: positive },
        average: normal(),
      },
      record(r, given) {
        r.emit({ op: 'adam', label: 'adam', fields: { count, ...given }, result: given.parameters! });
        return Object.fromEntries(arrays.map((name) => [name, given[name]!]));
      },
      reference(given) {
        if (!finite) return Object.fromEntries(arrays.map((name) => [name, given[name]!]));
        const [rate, beta1, beta2, epsilon, decay, most, keep] = Array.from(given.hyper!) as number[];
        const [p, m, v, a] = arrays.map((name) => Float64Array.from(given[name]!));
        const scale = most! > 0 ? Math.min(1, most! / given.state![0]!) : 1;
        const t = steps + 1;
        for (let i = 0; i < count; i += 1) {
          const g = given.gradients![i]! * scale;
          m![i] = beta1! * m![i]! + (1 - beta1!) * g;
          v![i] = beta2! * v![i]! + (1 - beta2!) * g * g;
          const update = m![i]! / (1 - beta1! ** t) / (Math.sqrt(v![i]! / (1 - beta2! ** t)) + epsilon!);
          p![i] = p![i]! * (1 - rate! * decay!) - rate! * update;
          a![i] = keep! * a![i]! + (1 - keep!) * p![i]!;
        }
        return { parameters: p!, moment1: m!, moment2: v!, average: a! };
      },
    };
  },
};
