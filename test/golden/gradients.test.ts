// Tests gradients of whole models against PyTorch, through one recorded training step with rate 0.
import { describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../../src/checkpoint/safetensors.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { expectClose, relativeL2 } from '../helpers/close.js';
import { GoldenFile, goldenMissing } from '../helpers/golden-files.js';
import { measureGradients } from '../helpers/gradients.js';
import { fitKinks, roundingNearKinks } from '../helpers/kinks.js';
import { testDevice } from '../helpers/models.js';
import { skipAloud } from '../helpers/skip.js';
import { maskOf } from '../oracle/masked-conv2d.js';
import { networkGradients } from '../oracle/network.js';

const device = testDevice();

type Gradients = ReturnType<typeof networkGradients>;
const parameterNames = (file: GoldenFile) => [...file.startingWith('param.').keys()];

const names = ['pixelcnn_default', 'pixelcnn_small_binary', 'pixelcnn_rgb'];
describe.each(
  names.flatMap((name) => (['direct', 'winograd'] as const).map((algorithm) => ({ name, algorithm }))),
)('$name with $algorithm', ({ name, algorithm }) => {
  const skip = skipAloud(`gradients of ${name}`, goldenMissing(`${name}.safetensors`));
  it.skipIf(skip)('gradients and likelihoods agree with PyTorch', async () => {
    const file = new GoldenFile(`${name}.safetensors`);
    const model = await PixelCNN.load(device(), encodeSafetensors(file.startingWith('param.')));
    const [count, channels, height, width] = file.shape('images') as [number, number, number, number];
    const images = { data: Uint8Array.from(file.nhwc('images')), count, height, width, channels };
    const { nats, gradients: measured } = await measureGradients(model, images, algorithm);

    // Where a value lies on a ReLU's kink up to rounding, the gradient of either side is right.
    const levels = file.nhwc('levels');
    const reference = new Map(parameterNames(file).map((name) => [name, file.values(`param.${name}`)]));
    const size = { n: count, h: height, w: width };
    const distances = (expected: (name: string) => ArrayLike<number>) =>
      parameterNames(file).map((name) => relativeL2(measured.get(name)!.data, expected(name)));
    if (!distances((name) => file.values(`grad.${name}`)).every((distance) => distance <= 1e-5)) {
      const within = roundingNearKinks[algorithm];
      const ofSides = ({ gradients }: Gradients) => distances((name) => gradients.get(name)!);
      const best = fitKinks(
        (flipped) => networkGradients(model.config, reference, size, levels, { within, flipped }),
        ofSides,
        1e-5,
      );
      expect(Math.max(...ofSides(best)), 'distance to the gradients of any side').toBeLessThanOrEqual(1e-5);
    }

    expectClose('nats', nats, file.values('nllNatsPerImage'));
    for (const { name: parameter, filter: declared } of model.internals().network.parameters) {
      if (declared === null) continue;
      const { data } = measured.get(parameter)!;
      const { c, k, channelGroups: groups, window } = declared;
      const side = window.rows;
      const shape = { ...size, c, k, groups, ...window };
      const wrong = data.findIndex((value, i) => {
        const filter = Math.floor(i / side ** 2);
        const [r, s] = [Math.floor(i / side) % side, i % side];
        return value !== 0 && maskOf(shape, Math.floor(filter / c), filter % c, r, s) === 0;
      });
      expect(wrong, `${parameter}: gradient under the mask`).toBe(-1);
    }
    expect(measured.size).toBe(2 * model.config.layers);
    await model.dispose();
  });
});
