// Tests the gated network against PyTorch's golden vectors (float64): logits, likelihoods, gradients, Adam and samples.
import { expect, it } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
import { bytesOfLevels, levelOfByte } from '../../src/data/levels.js';
import type { GatedConfig } from '../../src/models/config.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { expectClose } from '../helpers/close.js';
import { GoldenFile } from '../helpers/golden-files.js';
import { measureGradients } from '../helpers/gradients.js';
import { testDevice } from '../helpers/models.js';

const device = testDevice();
const file = new GoldenFile('gated_binary.safetensors');

function config(): GatedConfig {
  const { input: _, condition: __, likelihood: ___, ...options } = JSON.parse(file.metadata.config!);
  return options;
}

function arraysOf(prefix: string) {
  return new Map(
    Array.from(file.startingWith(prefix).keys(), (name) => {
      return [name, { shape: file.shape(prefix + name), data: file.values(prefix + name) }];
    }),
  );
}

const modelOf = () =>
  PixelCNN.load(
    device(),
    encodeModel({ config: config(), imageSize: undefined, weights: 'raw', parameters: arraysOf('param.') }),
  );

function images() {
  const [count, channels, height, width] = file.shape('levels') as [number, number, number, number];
  const byteOf = bytesOfLevels(config().levels);
  const data = Uint8Array.from(file.nhwc('levels'), (level) => byteOf[level]!);
  return { data, count, height, width, channels };
}

it('logits, nats and gradients', async () => {
  const model = await modelOf();
  for (const algorithm of ['direct', 'winograd', 'auto'] as const) {
    const { data } = await model.logits(images(), { algorithm });
    const [n, levels, c, h, w] = file.shape('logits') as [number, number, number, number, number];
    const values = file.values('logits');
    const expected = data.map((_, i) => {
      const [v, k, p, b] = [
        i % levels,
        Math.floor(i / levels) % c,
        Math.floor(i / levels / c) % (h * w),
        Math.floor(i / levels / c / h / w),
      ];
      return values[((b * levels + v) * c + k) * h * w + p]!;
    });
    expect(data.length).toBe(n * levels * c * h * w);
    expectClose('logits', data, expected);
    const { nats, gradients } = await measureGradients(model, images(), algorithm);
    expectClose('nats', nats, file.values('nllNatsPerImage'));
    for (const [name, { data }] of gradients) expectClose(name, data, file.values(`grad.${name}`));
  }
  const [count, , height, width] = file.shape('uniforms') as [number, number, number, number];
  const drawn = await model.sample({ count, height, width, uniforms: file.nhwc('uniforms') });
  expect(drawn.data.map((byte) => levelOfByte(byte, config().levels))).toEqual(
    Uint8Array.from(file.nhwc('sampledLevels')),
  );
  model.dispose();
});
