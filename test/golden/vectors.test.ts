// Tests outputs, gradients, logits, likelihoods and samples in float32 against PyTorch's golden vectors (float64).
import { describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../../src/checkpoint/safetensors.js';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { bytesOfLevels, levelOfByte } from '../../src/data/levels.js';
import { maskedConv2d, maskedConv2dBackward } from '../../src/functional.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { expectClose } from '../helpers/close.js';
import { GoldenFile, goldenMissing, logitsOf } from '../helpers/golden-files.js';
import { testDevice } from '../helpers/models.js';
import { skipAloud } from '../helpers/skip.js';
import { networkGradients, sampleRaster } from '../oracle/network.js';

interface ConvCase {
  readonly name: string;
  readonly batch: number;
  readonly inChannels: number;
  readonly outChannels: number;
  readonly kernelSize: number;
  readonly maskType: 'A' | 'B';
  readonly channelGroups: number;
  readonly height: number;
  readonly width: number;
}

const device = testDevice();
const missing = (file: string) => skipAloud(`golden vectors in ${file}`, goldenMissing(file));

const modelOf = (file: GoldenFile) => PixelCNN.load(device(), encodeSafetensors(file.startingWith('param.')));

describe.skipIf(missing('masked_conv2d.safetensors'))('masked convolution', () => {
  const file = goldenMissing('masked_conv2d.safetensors')
    ? undefined
    : new GoldenFile('masked_conv2d.safetensors');
  const cases = JSON.parse(file?.metadata.cases ?? '[]') as ConvCase[];

  it('has cases', () => {
    expect(cases.length).toBeGreaterThanOrEqual(12);
  });

  it.each(cases.flatMap((c) => (['direct', 'winograd'] as const).map((algorithm) => ({ c, algorithm }))))(
    '$c.name with $algorithm',
    async ({ c, algorithm }) => {
      const options = {
        input: file!.nhwc(`${c.name}.input`),
        inputShape: [c.batch, c.height, c.width, c.inChannels] as [number, number, number, number],
        weight: file!.values(`${c.name}.weight`),
        bias: file!.values(`${c.name}.bias`),
        outChannels: c.outChannels,
        kernelSize: c.kernelSize,
        maskType: c.maskType,
        channelGroups: c.channelGroups,
        algorithm,
      };
      expectClose('output', await maskedConv2d(device(), options), file!.nhwc(`${c.name}.output`));
      const gradOutput = file!.nhwc(`${c.name}.gradOutput`);
      const back = await maskedConv2dBackward(device(), { ...options, gradOutput });
      expectClose('gradInput', back.gradInput, file!.nhwc(`${c.name}.gradInput`));
      expectClose('gradWeight', back.gradWeight, file!.values(`${c.name}.gradWeight`));
      expectClose('gradBias', back.gradBias, file!.values(`${c.name}.gradBias`));
    },
  );
});

describe.each(['pixelcnn_default', 'pixelcnn_small_binary', 'pixelcnn_rgb'])('%s', (name) => {
  const skip = missing(`${name}.safetensors`);
  it.skipIf(skip)('logits and likelihoods, direct and winograd', async () => {
    const file = new GoldenFile(`${name}.safetensors`);
    const model = await modelOf(file);
    const [count, channels, height, width] = file.shape('images') as [number, number, number, number];
    const data = Uint8Array.from(file.nhwc('images'));
    const images: ImageBatch = { data, count, height, width, channels };
    const levels = data.map((byte) => levelOfByte(byte, model.config.levels));
    expect(levels).toEqual(Uint8Array.from(file.nhwc('levels')));
    for (const algorithm of ['direct', 'winograd'] as const) {
      const logits = await model.logits(images, { algorithm });
      expectClose(`logits, ${algorithm}`, logits.data, logitsOf(file));
      const { nats } = await model.logLikelihood(images, { algorithm });
      expectClose(`nats, ${algorithm}`, nats, file.values('nllNatsPerImage'));
    }
    await model.dispose();
  });
});

describe.skipIf(missing('pixelcnn_rgb.safetensors'))('the float64 network of these tests', () => {
  it('agrees with PyTorch in loss and gradients', () => {
    const file = new GoldenFile('pixelcnn_rgb.safetensors');
    const config = { channels: 3, hiddenChannels: 24, layers: 4, levels: 8, kernelSize: 5 };
    const [n, , h, w] = file.shape('images') as [number, number, number, number];
    const parameters = new Map(
      [...file.startingWith('param.').keys()].map((name) => [name, file.values(`param.${name}`)]),
    );
    const result = networkGradients(config, parameters, { n, h, w }, file.nhwc('levels'));
    expect(Math.abs(result.loss / Number(file.metadata.loss) - 1)).toBeLessThan(1e-6);
    for (const [name, gradient] of result.gradients)
      expectClose(name, gradient, file.values(`grad.${name}`), 1e-6);
  });
});

describe.each(['sampling_gray', 'sampling_rgb'])('%s', (name) => {
  const skip = missing(`${name}.safetensors`);
  const read = async () => {
    const file = new GoldenFile(`${name}.safetensors`);
    const model = await modelOf(file);
    const [count, channels, height, width] = file.shape('uniforms') as [number, number, number, number];
    const expected = Uint8Array.from(file.nhwc('levels'));
    return { file, model, count, channels, height, width, expected, uniforms: file.nhwc('uniforms') };
  };

  it.skipIf(skip)('the wavefront sampler draws the same levels', async () => {
    const { model, count, height, width, expected, uniforms } = await read();
    const { data } = await model.sample({ count, height, width, uniforms });
    expect(data.map((byte) => levelOfByte(byte, model.config.levels))).toEqual(expected);
    await model.dispose();
  });

  it.skipIf(skip)('one full forward pass per value draws the same levels', async () => {
    const { file, model, count, channels, height, width, expected, uniforms } = await read();
    const byteOf = bytesOfLevels(model.config.levels);
    const size = { n: count, h: height, w: width };
    const drawn = await sampleRaster(size, channels, model.config.levels, uniforms, async (levels) => {
      const data = levels.map((level) => byteOf[level]!);
      return (await model.logits({ data, count, height, width, channels })).data;
    });
    expect(drawn.levels).toEqual(expected);
    const stated = Number(file.metadata.smallestMargin);
    console.info(`${name}: least |cdf - u| met ${drawn.margin.toExponential(3)}, in float64 ${stated}`);
    await model.dispose();
  });
});
