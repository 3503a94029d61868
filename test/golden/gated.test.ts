// Tests the gated network against PyTorch's golden vectors (float64), on the CPU and on the emulated GPU in every precision.
import { describe, expect, it } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { bytesOfLevels, levelOfByte } from '../../src/data/levels.js';
import { type Device, openDevice } from '../../src/device/device.js';
import type { GatedConfig } from '../../src/models/config.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { algorithms } from '../../src/program/algorithm.js';
import { trainSchema } from '../../src/train/options.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { expectClose } from '../helpers/close.js';
import { openGpu } from '../helpers/cuda.js';
import { GoldenFile } from '../helpers/golden-files.js';
import { measureGradients } from '../helpers/gradients.js';
import { bf16Missing } from '../helpers/models.js';
import { skipAloud } from '../helpers/skip.js';

const file = new GoldenFile('gated_binary.safetensors');
// The file also says what later models may choose, which this one leaves out.
const { input, likelihood, condition, ...options } = JSON.parse(file.metadata.config!);
const config = options as GatedConfig;
const { levels } = config;

it('is of a network without condition, codes or mixtures', () => {
  expect({ input, likelihood, condition }).toEqual({
    input: 'value',
    likelihood: 'categorical',
    condition: 'none',
  });
});

function modelOn(device: Device): Promise<PixelCNN> {
  const names = [...file.startingWith('param.').keys()];
  const parameters = new Map(
    names.map((name) => [name, { shape: file.shape(`param.${name}`), data: file.values(`param.${name}`) }]),
  );
  return PixelCNN.load(device, encodeModel({ config, imageSize: undefined, weights: 'raw', parameters }));
}

function images(): ImageBatch {
  const [count, channels, height, width] = file.shape('levels') as [number, number, number, number];
  const byteOf = bytesOfLevels(levels);
  const data = Uint8Array.from(file.nhwc('levels'), (level) => byteOf[level]!);
  return { data, count, height, width, channels };
}

/** Logits [N, levels, 1, H, W] of the file in our order (N, H, W, 1, levels). */
function expectedLogits(): Float32Array {
  const [, , , h, w] = file.shape('logits') as [number, number, number, number, number];
  const values = file.values('logits');
  return values.map((_, i) => {
    const [level, pixel, image] = [
      i % levels,
      Math.floor(i / levels) % (h * w),
      Math.floor(i / levels / h / w),
    ];
    return values[(image * levels + level) * h * w + pixel]!;
  });
}

/**
 * What rounding explains in each precision; `losses` are those after free steps. PyTorch in float32 that rounds to bf16 where
 * our ops do differs from float64 as much as ours in bf16: by 0.054 in the gradient of the first layer.
 */
const limits = {
  f32: { logits: 1e-5, nats: 1e-5, gradients: 1e-5, losses: 1e-5 },
  tf32: { logits: 2e-3, nats: 3e-3, gradients: 2e-2, losses: 1e-2 },
  bf16: { logits: 2e-2, nats: 3e-3, gradients: 6e-2, losses: 1e-2 },
  f16: { logits: 3e-3, nats: 3e-3, gradients: 2e-2, losses: 1e-2 },
};

const cases = [
  { name: 'CPU', precision: 'f32', open: () => openDevice({ backend: 'cpu' }) },
  ...(skipAloud('gated networks in bf16 on the CPU', await bf16Missing())
    ? []
    : [
        {
          name: 'CPU in bf16',
          precision: 'bf16' as const,
          open: () => openDevice({ backend: 'cpu', precision: 'bf16' }),
        },
      ]),
  ...(['f32', 'tf32', 'bf16', 'f16'] as const).map((precision) => {
    return { name: `GPU in ${precision}`, precision, open: () => openGpu({ precision }) };
  }),
] as const;

describe.each(cases)('on a $name', ({ precision, open }) => {
  const limit = limits[precision];

  it.each(algorithms)('logits, nats and gradients with %s', async (algorithm) => {
    await using device = await open();
    const model = await modelOn(device);
    const { data } = await model.logits(images(), { algorithm });
    expectClose('logits', data, expectedLogits(), limit.logits);
    const { nats } = await model.logLikelihood(images(), { algorithm });
    expectClose('nats', nats, file.values('nllNatsPerImage'), limit.nats);
    const { gradients } = await measureGradients(model, images(), algorithm);
    expect(gradients.size).toBe([...file.startingWith('grad.').keys()].length);
    for (const [name, gradient] of gradients)
      expectClose(name, gradient.data, file.values(`grad.${name}`), limit.gradients);
  });

  it('three steps of Adam', async () => {
    await using device = await open();
    const model = await modelOn(device);
    const { data: bytes, count, height, width } = images();
    const step = await TrainingStep.create(model.internals(), {
      height,
      width,
      dynamic: false,
      algorithm: 'auto',
    });
    const { lr, betas, eps, losses } = JSON.parse(file.metadata.adam!);
    const hyper = {
      ...trainSchema.parse({}),
      learningRate: lr,
      beta1: betas[0],
      beta2: betas[1],
      epsilon: eps,
    };
    for (const [i, loss] of losses.entries()) {
      const { nats } = (await step.run({ bytes, count }, hyper))!;
      const mean = nats.reduce((sum, value) => sum + value, 0) / bytes.length;
      expectClose(`loss of step ${i}`, [mean], [loss], i === 0 ? limit.nats : limit.losses);
    }
    // Adam divides gradients by their size, so in 16 bits a gradient of almost 0 moves its weight in either direction.
    if (precision === 'f32') {
      for (const [name, { data }] of await model.parameters()) {
        // Weights under the mask are 0 in ours, and hold anything in PyTorch's.
        const expected = file.values(`after.${name}`).map((value, i) => (data[i] === 0 ? 0 : value));
        expectClose(name, data, expected);
      }
    }
    step.dispose();
  });
});

describe.each(cases.filter(({ precision }) => precision === 'f32'))('on a $name', ({ open }) => {
  it('draws the same levels from the same uniforms', async () => {
    await using device = await open();
    const model = await modelOn(device);
    const [count, , height, width] = file.shape('uniforms') as [number, number, number, number];
    const { data } = await model.sample({ count, height, width, uniforms: file.nhwc('uniforms') });
    expect(data.map((byte) => levelOfByte(byte, levels))).toEqual(
      Uint8Array.from(file.nhwc('sampledLevels')),
    );
  });
});
