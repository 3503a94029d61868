// Tests the predicted times of the GPU kernels: they show what the kernels were changed for, and depend on shapes
// and devices as a model's do and a table's cannot. predict-review.test.ts compares the model itself with the
// review's estimates.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';

const script = fileURLToPath(new URL('../../scripts/gpu-acceptance/predict.mjs', import.meta.url));

type Gpu = Readonly<Record<string, number>>;
interface Shape {
  model?: object;
  batch?: number;
  height?: number;
  width?: number;
  convolutions?: 'own' | 'cudnn';
}
interface Kernel {
  name: string;
  launches: number;
  microseconds: number;
  limit: string;
  limits: Record<string, number>;
}
interface Step {
  kernels: Kernel[];
  milliseconds: number;
  imagesPerSecond: number;
  shareOfPeak: number;
}
interface Sampling {
  milliseconds: number;
  imagesPerSecond: number;
  frontMicroseconds: number;
  layerMicroseconds: number;
}
interface Row {
  what: string;
  milliseconds: number;
  label?: string;
  batch?: number;
}
interface Predict {
  h100: Gpu;
  predictTrainingStep(shape: Shape, gpu?: Gpu): Step;
  predictSampling(shape: Shape, gpu?: Gpu): Sampling;
  predictOp(label: string, shape?: Shape, gpu?: Gpu): number;
  withPredictions(rows: Row[]): (Row & { predicted: number; ratio: number })[];
}
let predict: Predict;
beforeAll(async () => {
  predict = await import(script);
});

describe('what is predicted', () => {
  it('a step of 256 images takes at most 2.9 ms with our own convolutions', () => {
    expect(predict.predictTrainingStep({ batch: 256 }).milliseconds).toBeLessThan(2.9);
  });

  it('4,096 samples come at 130,000 a second at least, one within 7 ms', () => {
    expect(predict.predictSampling({ batch: 4096 }).imagesPerSecond).toBeGreaterThan(130_000);
    expect(predict.predictSampling({ batch: 1 }).milliseconds).toBeLessThan(7);
  });

  it('a step launches few kernels, and each has the limit that its shape suggests', () => {
    const launches = (step: Step) => step.kernels.reduce((sum, kernel) => sum + kernel.launches, 0);
    const own = predict.predictTrainingStep({});
    // 61 when each layer was packed twice and had two more for the gradient of its bias.
    expect(launches(own)).toBe(61 - 12 - 14);
    // cuDNN has no row of ones in its weight gradients, and its biases are rounded first.
    expect(launches(predict.predictTrainingStep({ convolutions: 'cudnn' }))).toBe(61 - 12 - 2 + 7);
    const limits = Object.fromEntries(own.kernels.map(({ name, limit }) => [name, limit]));
    expect(limits).toMatchObject({
      quantise: 'launch',
      'first layer forward': 'issue',
      // 466 instructions for a row of logits: the review saw memory as its only limit.
      'cross-entropy': 'issue',
      // L2 was the limit of the convolutions, and issuing that of the weight gradient.
      'hidden forward': 'shared memory',
      'hidden input gradient': 'shared memory',
      'hidden weight gradient': 'shared memory',
      'head input gradient': 'HBM',
      adam: 'HBM',
    });
  });
});

describe('it is a model', () => {
  const kernelsOf = (shape: Shape, gpu?: Gpu) =>
    new Map(predict.predictTrainingStep(shape, gpu).kernels.map((kernel) => [kernel.name, kernel]));
  const ratio = (name: string, from: Map<string, Kernel>, to: Map<string, Kernel>) =>
    to.get(name)!.microseconds / from.get(name)!.microseconds;
  const changed = (constants: Gpu): Gpu => ({ ...predict.h100, ...constants });

  it('twice the batch takes nearly twice as long, the rest being launches', () => {
    for (const convolutions of ['own', 'cudnn'] as const) {
      const [one, two] = [256, 512].map((batch) => predict.predictTrainingStep({ batch, convolutions }));
      const factor = two!.milliseconds / one!.milliseconds;
      expect(factor).toBeGreaterThan(1.85);
      expect(factor).toBeLessThan(2);
    }
    const [one, two] = [kernelsOf({ batch: 256 }), kernelsOf({ batch: 512 })];
    for (const name of ['pack weights', 'gradient norm', 'adam']) expect(ratio(name, one, two)).toBe(1);
  });

  it('half the channels are a quarter of the products and half of the traffic of a layer', () => {
    const [full, half] = [kernelsOf({ model: { hiddenChannels: 128 } }), kernelsOf({})];
    expect(ratio('adam', full, half)).toBeLessThan(0.5);
    const convolution = ratio('hidden forward', full, half);
    // Less than a quarter: of 64 channels L1 holds the pixels of a row of taps, of 128 it does not.
    expect(convolution).toBeGreaterThan(0.15);
    expect(convolution).toBeLessThan(0.5);
    const limits = (kernels: Map<string, Kernel>) => kernels.get('hidden forward')!.limits;
    expect(limits(half)['tensor cores']! / limits(full)['tensor cores']!).toBeCloseTo(0.25, 1);
    expect(limits(half).HBM! / limits(full).HBM!).toBeCloseTo(0.5, 5);
  });

  it('half the L2 rate doubles what L2 limits and leaves alone what HBM limits', () => {
    const half = changed({ l2Rate: predict.h100.l2Rate! / 2 });
    const [usual, slow] = [kernelsOf({}), kernelsOf({}, half)];
    for (const name of ['gradient norm', 'adam', 'quantise']) expect(ratio(name, usual, slow)).toBe(1);
    // From shared memory to L2: more than before, less than twice.
    expect(slow.get('hidden forward')!.limit).toBe('L2');
    expect(ratio('hidden forward', usual, slow)).toBeGreaterThan(1.1);
    expect(ratio('hidden forward', usual, slow)).toBeLessThan(1.5);
    const [fromCudnn, slowCudnn] = [undefined, half].map((gpu) => kernelsOf({ convolutions: 'cudnn' }, gpu));
    for (const name of ['hidden forward', 'hidden input gradient']) {
      expect(ratio(name, fromCudnn!, slowCudnn!)).toBeGreaterThan(1.9);
      expect(ratio(name, fromCudnn!, slowCudnn!)).toBeLessThan(2);
    }
    expect(ratio('bias gradient', fromCudnn!, slowCudnn!)).toBe(1);
    expect(ratio('head weight gradient', fromCudnn!, slowCudnn!)).toBeCloseTo(1, 1);
  });

  it('half the bandwidth of shared memory doubles what it limits and leaves alone the others', () => {
    const half = changed({ sharedBytesPerClock: predict.h100.sharedBytesPerClock! / 2 });
    const [usual, slow] = [kernelsOf({}), kernelsOf({}, half)];
    for (const name of ['hidden forward', 'hidden input gradient', 'hidden weight gradient']) {
      expect(ratio(name, usual, slow)).toBeGreaterThan(1.9);
      expect(ratio(name, usual, slow)).toBeLessThan(2);
    }
    for (const name of ['adam', 'cross-entropy', 'unpack']) expect(ratio(name, usual, slow)).toBe(1);
  });

  it('without room in L1 every tap is read from L2 again', () => {
    const limits = (gpu?: Gpu) => kernelsOf({}, gpu).get('hidden forward')!.limits;
    const none = changed({ unifiedMemory: predict.h100.sharedMemory! });
    // The review's 963 MB against what is left where rows of taps share their pixels.
    expect(limits(none).L2! / limits().L2!).toBeGreaterThan(2);
    expect((limits(none).L2! / 1e6) * 6e12 * 0.92).toBeCloseTo(963.4e6 + 200704 * 64 * 2, -6);
  });

  it('half the HBM rate doubles what HBM limits and leaves alone what L2 limits', () => {
    const half = changed({ hbmRate: predict.h100.hbmRate! / 2 });
    const [usual, slow] = [kernelsOf({}), kernelsOf({}, half)];
    expect(ratio('head input gradient', usual, slow)).toBeGreaterThan(1.9);
    expect(ratio('unpack', usual, slow)).toBe(1);
  });

  it('half the multiprocessors need twice the time to issue, none more to move bytes', () => {
    const half = changed({ multiprocessors: predict.h100.multiprocessors! / 2 });
    const [usual, small] = [kernelsOf({}), kernelsOf({}, half)];
    for (const name of ['first layer forward', 'cross-entropy', 'hidden forward']) {
      expect(ratio(name, usual, small)).toBeGreaterThan(1.8);
      expect(ratio(name, usual, small)).toBeLessThan(2.2);
    }
    expect(ratio('adam', usual, small)).toBe(1);
  });

  it('the last wave counts: one block more than the multiprocessors have room for takes longer', () => {
    const images = (blocks: number): Shape => ({ batch: 1, height: 16, width: 8 * blocks });
    const clocks = (blocks: number) => kernelsOf(images(blocks)).get('hidden forward')!.limits.issue!;
    expect(clocks(3 * 132 + 1) / clocks(3 * 132)).toBeGreaterThan(1.2);
    expect(clocks(6 * 132) / clocks(3 * 132 + 1)).toBeLessThan(1.2);
  });

  it('a front takes as long for 1 image as for 256, and longer where blocks are many', () => {
    const [one, many, all] = [1, 256, 2048].map((batch) => predict.predictSampling({ batch }));
    expect(many!.layerMicroseconds).toBeLessThan(1.2 * one!.layerMicroseconds);
    expect(all!.layerMicroseconds).toBeGreaterThan(2 * one!.layerMicroseconds);
    const faster = changed({ nodeGap: predict.h100.nodeGap! / 2 });
    const gained = one!.frontMicroseconds - predict.predictSampling({ batch: 1 }, faster).frontMicroseconds;
    expect(gained).toBeCloseTo(7 / 2, 5);
  });

  it('of two runs the second costs less than the first: JavaScript and the host wait beside it', () => {
    const time = (batch: number, model = {}) => predict.predictSampling({ batch, model }).milliseconds;
    for (const levels of [2, 256]) {
      const second = time(8192, { levels }) - time(4096, { levels });
      expect(second).toBeLessThan(time(4096, { levels }));
      expect(second).toBeGreaterThan(0.5 * time(4096, { levels }));
    }
    // Levels that are not bytes are looked up one by one, after the last run only.
    expect(time(4096, { levels: 128 }) - time(4096)).toBeGreaterThan(5);
  });

  it('three image channels take three times the fronts’ kernels', () => {
    const grey = predict.predictSampling({ batch: 1, model: { hiddenChannels: 96 } });
    const colour = predict.predictSampling({ batch: 1, model: { hiddenChannels: 96, channels: 3 } });
    expect(colour.frontMicroseconds / grey.frontMicroseconds).toBeGreaterThan(2.5);
    expect(colour.frontMicroseconds / grey.frontMicroseconds).toBeLessThan(3.2);
  });
});

it.each([
  { kernelSize: 1 }, // the first layer sees nothing but its bias
  { kernelSize: 1, layers: 2, hiddenChannels: 1, levels: 2 },
  { channels: 3, hiddenChannels: 20, levels: 2, kernelSize: 3 },
  { kernelSize: 31, hiddenChannels: 8 },
])('steps and samples of %o take a time that is a number', (model) => {
  for (const size of [28, 1]) {
    const shape = { model, batch: 7, height: size, width: size };
    for (const convolutions of ['own', 'cudnn'] as const)
      expect(predict.predictTrainingStep({ ...shape, convolutions }).milliseconds).toBeGreaterThan(0);
    expect(predict.predictSampling(shape).milliseconds).toBeGreaterThan(0);
  }
});

describe('a gated network', () => {
  const gated = { architecture: 'gated' } as const;
  const rowOf = (step: Step, name: string) => step.kernels.find((kernel) => kernel.name === name)!;

  it('has a gate and its gradient for each stack of each layer but the last vertical one', () => {
    const step = predict.predictTrainingStep({ model: gated });
    for (const name of ['gate', 'gate gradient']) {
      expect(rowOf(step, name).launches).toBe(2 * 7 - 1);
      expect(rowOf(step, name).limit).toBe('HBM');
    }
    // Two halves in and a value out; with the gradient of the value, and those of the halves out.
    const { gate, gradient } = { gate: rowOf(step, 'gate'), gradient: rowOf(step, 'gate gradient') };
    expect(gradient.limits.HBM! / gate.limits.HBM!).toBeCloseTo(5 / 3, 5);
    expect(rowOf(step, 'residual forward').launches).toBe(6);
    expect(rowOf(step, 'first layer weight gradient').launches).toBe(2);
  });

  it('pays for addends: the first residual connection has none', () => {
    const residual = (layer: number) =>
      predict.predictOp(`layers.${layer}.residual forward`, { model: gated, batch: 1024 });
    expect(residual(1) / residual(0)).toBeGreaterThan(1.3);
    expect(residual(1) / residual(0)).toBeLessThan(1.6);
  });

  it('has the work of its windows: of k x k the vertical ones have k (k + 1) / 2 taps', () => {
    const time = (kernelSize: number) =>
      predict.predictOp('layers.3.vertical forward', { model: { ...gated, kernelSize }, batch: 1024 });
    expect(time(7) / time(3)).toBeGreaterThan(3);
    expect(time(7) / time(3)).toBeLessThan(28 / 6 + 0.5);
  });

  it('is drawn in more fronts where it sees more of the width', () => {
    const milliseconds = (model: object) =>
      predict.predictSampling({ model: { ...gated, ...model }, batch: 16 }).milliseconds;
    // The last one computes whole rows, and then pixel after pixel.
    const [near, far, whole] = [{ layers: 4 }, { layers: 4, kernelSize: 5 }, { layers: 4, kernelSize: 9 }];
    expect(milliseconds(far)).toBeGreaterThan(1.2 * milliseconds(near));
    expect(milliseconds(whole)).toBeGreaterThan(1.5 * milliseconds(far));
  });
});

it('measured rows get their prediction and the ratio', () => {
  const step = predict.predictTrainingStep({ batch: 64 }).milliseconds;
  const sampling = predict.predictSampling({ batch: 16 }).milliseconds;
  const op = predict.predictOp('net.2 forward', { batch: 256 }) / 1000;
  const rows = predict.withPredictions([
    { what: 'training step', batch: 64, milliseconds: 2 * step },
    { what: 'sampling', batch: 16, milliseconds: sampling },
    { what: 'op', label: 'net.2 forward', milliseconds: op / 2 },
  ]);
  expect(rows.map(({ predicted }) => predicted)).toEqual([step, sampling, op]);
  expect(rows.map(({ ratio }) => ratio)).toEqual([2, 1, 0.5]);
  expect(() => predict.withPredictions([{ what: 'nothing', milliseconds: 1 }])).toThrow(/'nothing'/);
});

it('the command prints both tables as predictions, and refuses a batch that is no number', () => {
  const run = (...args: string[]) => spawnSync(process.execPath, [script, ...args], { encoding: 'utf8' });
  const { stdout, status } = run('--batch', '64');
  expect(status).toBe(0);
  expect(stdout).toMatch(/^PREDICTIONS, NOT MEASUREMENTS/);
  expect(stdout).toContain('Training step, batch 64, our own convolutions');
  expect(stdout).toMatch(/hidden forward +5 +[\d.]+ µs {2}L2/);
  expect(stdout).toMatch(/ 4096 +[\d.]+ µs/);
  const gated = run('--architecture', 'gated', '--batch', '64').stdout;
  expect(gated).toMatch(/^PREDICTIONS, NOT MEASUREMENTS: the default gated model/);
  expect(gated).toMatch(/^gate gradient +13 +[\d.]+ µs/m);
  expect(gated).toMatch(/^vertical forward +6 +[\d.]+ µs/m);
  expect(run('--help').stdout).toContain('Usage: node scripts/gpu-acceptance/predict.mjs');
  const wrong = run('--batch', 'many');
  expect(wrong.status).toBe(1);
  expect(wrong.stderr).toContain("got 'many'");
  for (const args of [['--batch', '9007199254740993'], ['--foo'], ['stray'], ['--architecture', 'other']]) {
    const refused = run(...args);
    expect(refused.status, args.join(' ')).toBe(1);
    expect(refused.stderr.trim().split('\n'), args.join(' ')).toHaveLength(1);
  }
});
