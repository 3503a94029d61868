// Tests that the cost model of the GPU kernels has the constants of their C++ source and the ops of a recorded
// training step.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import { networkOf } from '../../src/models/architectures.js';
import { conditionInput } from '../../src/models/condition.js';
import { recordTrainingStep } from '../../src/models/network.js';
import { parseConfig } from '../../src/models/parse-config.js';
import { PackList } from '../../src/program/pack-list.js';
import { Recorder } from '../../src/program/recorder.js';
import { describeTensor } from '../../src/program/tensor.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = `${root}scripts/gpu-acceptance/`;
const source = (path: string) => readFileSync(root + path, 'utf8');

type Tile = Readonly<Record<string, number>>;
interface Along {
  a: boolean;
  b: boolean;
}

let predict: { predictOp(label: string, shape: object): number };
let recorded: { pixelsPerSampledBatch: number; pixelsPerForward: number };
let sampling: { mostBlockOps: number };
let model: { h100: object; tiles: Record<string, Tile>; sharedBytes(tile: Tile, along: Along): number };
let costs: { sizes: Record<string, number> };
let training: { chunkBytes: number; trainingOps(shape: object, gpu: object): { label: string }[] };
beforeAll(async () => {
  predict = await import(`${folder}predict.mjs`);
  model = await import(`${folder}gpu-model.mjs`);
  costs = await import(`${folder}kernel-costs.mjs`);
  training = await import(`${folder}training-kernels.mjs`);
  recorded = await import(`${folder}recorded-programs.mjs`);
  sampling = await import(`${folder}sampling-kernels.mjs`);
});

/** Integers in C++: products, sums and shifts of literals, and names that are known. */
function integer(text: string, names: Record<string, number> = {}): number {
  const words = text.trim().split(/\s+/);
  let value = Number(names[words[0]!] ?? words[0]);
  for (let i = 1; i < words.length; i += 2) {
    const operand = Number(names[words[i + 1]!] ?? words[i + 1]);
    if (words[i] === '*') value *= operand;
    else if (words[i] === '+') value += operand;
    else if (words[i] === '<<') value *= 2 ** operand;
    else value = Number.NaN;
  }
  return value;
}

describe('the constants of the kernels', () => {
  it.each([
    ['LargeTile', 'cuda/tile.h'],
    ['SmallTile', 'cuda/tile.h'],
    ['SampleTile', 'cuda/sample.cu'],
  ])('%s is as %s has it', (name, path) => {
    const body = new RegExp(`struct ${name} \\{([^}]*)\\}`).exec(source(path))?.[1] ?? '';
    const found = Object.fromEntries(
      [...body.matchAll(/k(\w+) = (\d+)/g)].map(([, word, value]) => [
        word!.charAt(0).toLowerCase() + word!.slice(1),
        Number(value),
      ]),
    );
    expect(model.tiles[name]).toEqual(found);
  });

  it('the sizes that work is shared out by are those of the source', () => {
    const sources = {
      kLeastPixels: 'cuda/gradient_parts.h',
      kSumWarps: 'cuda/masked_conv2d_bias_gradient.cu',
      kSumChannels: 'cuda/masked_conv2d_bias_gradient.cu',
      kPasses: 'cuda/cross_entropy.h',
      kHeld: 'cuda/cross_entropy.h',
      kCrossEntropyThreads: 'cuda/cross_entropy.h',
      kFlatThreads: 'cuda/grid.h',
      kPartPixels: 'cuda/sum_pixels.cu',
      kAcross: 'cuda/sum_pixels.cu',
      kDown: 'cuda/sum_pixels.cu',
      kIndices: 'cuda/embedding.cu',
      kLoads: 'cuda/embedding.cu',
      kLogitsStride: 'cuda/sample.cu',
      kTileSide: 'cuda/masked_conv2d_pack.cu',
      kMultiprocessors: 'cuda/gradient_parts.h',
      kLargeBlocks: 'cuda/masked_conv2d_gradient.cu',
      kSmallBlocks: 'cuda/masked_conv2d_gradient.cu',
    };
    const constant = (path: string, name: string) =>
      new RegExp(`\\b${name} = ([^,;]+)`).exec(source(path))?.[1] ?? `no ${name}`;
    const levels = integer(constant('cuda/sample.cu', 'kLevels'));
    const found = Object.entries(sources).map(([name, path]) => [
      name,
      integer(constant(path, name), { kLevels: levels }),
    ]);
    expect(costs.sizes).toEqual(Object.fromEntries(found));
  });

  it('batches are cut as the source cuts them', () => {
    const device = source('src/device/device.ts');
    const pixels = (getter: string) => {
      const body = device.slice(device.indexOf(`get ${getter}()`));
      const perRun = /'cuda' \? (\d+) : \d+\) \* (\d+) \* (\d+)/.exec(body)!;
      return Number(perRun[1]) * Number(perRun[2]) * Number(perRun[3]);
    };
    expect(recorded.pixelsPerSampledBatch).toBe(pixels('pixelsPerSampledBatch'));
    expect(recorded.pixelsPerForward).toBe(pixels('pixelsPerForward'));
    const block = /mostBlockOps = (\d+);/.exec(source('src/sample/front-sampler.ts'))!;
    expect(sampling.mostBlockOps).toBe(Number(block[1]));
    const head = source('cuda/softmax_cross_entropy.cu');
    const chunk = /#else\s+constexpr int64_t kChunkBytes = ([^;]+);/.exec(head)?.[1] ?? 'no kChunkBytes';
    expect(training.chunkBytes).toBe(integer(chunk));
  });

  it('shared memory comes to what the review counted', () => {
    const bytes = (tile: string, a: boolean, b: boolean) => model.sharedBytes(model.tiles[tile]!, { a, b });
    expect(bytes('LargeTile', true, true)).toBe(61_440);
    expect(bytes('LargeTile', true, false)).toBe(59_392);
    expect(bytes('LargeTile', false, false)).toBe(53_248);
    expect(bytes('SmallTile', true, true)).toBe(36_864);
    expect(bytes('SampleTile', true, true) + 4 * 16 * costs.sizes.kLogitsStride!).toBe(58_112);
  });
});

describe('the instructions of a round of the main loop', () => {
  const kernels: [string, string, string][] = ['LargeTile', 'SmallTile'].flatMap((tile) => [
    ['forward', tile, `convolve<bf16, forward, ${tile}, ImagePixels, vectors>`] as [string, string, string],
    ['forward', tile, `convolve<bf16, forward, ${tile}, FrontPixels, vectors>`] as [string, string, string],
    ['backward', tile, `convolve<bf16, backward, ${tile}, ImagePixels, vectors>`] as [string, string, string],
    ['weightGradient', tile, `weight_gradient<bf16, ${tile}, vectors, vectors>`] as [string, string, string],
  ]);

  it.each([...kernels, ['sample', 'SampleTile', 'sample_front_kernel<bf16, vectors>']] as const)(
    'of %s in a %s are those that the gates allow, but for their 5%%',
    async (kind, tile, kernel) => {
      const { limits } = await import(`${root}scripts/kernel-gates/limits.mjs`);
      const { productOf, readTiles } = await import(`${root}scripts/kernel-gates/products.mjs`);
      const { instructions } = await import(`${folder}product-costs.mjs`);
      const line = limits.find((limit: { kernel: RegExp }) => limit.kernel.test(kernel));
      const allowed = line.perHmma[0] * productOf(kernel, readTiles(`${root}cuda`)).HMMA;
      const counted = instructions.rounds[kind][tile].vectors;
      expect(counted).toBeLessThanOrEqual(allowed);
      expect(counted).toBeGreaterThan(0.92 * allowed);
    },
  );
});

it.each([
  {},
  { layers: 2 },
  { channels: 3, hiddenChannels: 12, layers: 4, kernelSize: 3 },
  { architecture: 'gated' },
  { architecture: 'gated', layers: 2, headChannels: 5 },
  { architecture: 'gated', channels: 3, hiddenChannels: 7, layers: 3, kernelSize: 5, firstKernelSize: 3 },
  { condition: { classes: 10 } },
  { architecture: 'gated', condition: { features: 5, none: true } },
  { architecture: 'gated', condition: { map: 3 } },
] as const)('the ops are those that a training step of %j records, and each has a time', (options) => {
  const config = parseConfig('test', options);
  // Recording asks the device for nothing but sizes of packed weights.
  const device = {
    info: { precision: 'bf16' },
    packedBytes: () => 256,
    packsOnce: true,
  } as unknown as Device;
  const network = networkOf(config);
  const tensors = (what: string) =>
    new Map(
      Array.from(network.parameters, ({ name, shape }) => {
        return [name, describeTensor(`${what} ${name}`, shape, 'float32')];
      }),
    );
  const r = new Recorder(device, {
    algorithm: 'auto',
    parameters: tensors('raw'),
    gradients: tensors('gradient'),
    packs: new PackList(),
  });
  const flat = r.tensor('flat', [1024]);
  const optimizer = {
    gradients: flat,
    hyper: r.tensor('hyper', [8]),
    state: r.tensor('state', [4], 'float64'),
    parameters: flat,
    moment1: flat,
    moment2: flat,
    average: flat,
  };
  const bytes = r.input('bytes', [2, 5, 6, config.channels], 'uint8');
  const condition = conditionInput(r, config, { n: 2, h: 5, w: 6 });
  recordTrainingStep(r, { network, config }, { bytes, condition }, optimizer);

  const shape = { model: options, batch: 2, height: 5, width: 6, convolutions: 'own' } as const;
  const predicted = training.trainingOps(shape, model.h100);
  expect(predicted.map(({ label }) => label)).toEqual(r.ops.map(({ label }) => label));
  for (const { label } of predicted) expect(predict.predictOp(label, shape)).toBeGreaterThan(1);
  expect(() => predict.predictOp('net.1 forward', shape)).toThrow(/no op 'net.1 forward'/);
});
