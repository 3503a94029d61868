// Part `sampling`: the sampler's logits against a full forward pass, bit for bit in every precision; how many values
// differ from the CPU's images in f32; the same images for any batch.
import { openDevice, PixelCNN } from '../../dist/index.js';
import { bytesOfLevels } from '../../dist/ops/quantise.js';
import { frontSteps } from '../../dist/ops/sample.js';
import { buildSampler, frontOf } from '../../dist/sample/front-sampler.js';
import { drawWithLogits } from '../../test/helpers/draw.mjs';

export async function sampling({ emulated }) {
  const size = emulated ? { count: 2, side: 5 } : { count: 64, side: 28 };
  const models = emulated
    ? [{ hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 }]
    : [{}, { channels: 3, hiddenChannels: 96, layers: 5, levels: 32, kernelSize: 3 }];
  const failures = [];
  const differences = [];
  for (const model of models) {
    for (const precision of ['f32', 'tf32', 'bf16', 'f16']) {
      const device = await openDevice({ backend: 'cuda', precision });
      const differing = await againstForward(await PixelCNN.create(device, { ...model, seed: 3 }), size);
      if (differing > 0)
        failures.push(
          `${precision} ${JSON.stringify(model)}: ${differing} logits are not those of a forward pass`,
        );
      await device.dispose();
    }
    const drawn = await draw({ backend: 'cuda', precision: 'f32' }, model, size);
    const expected = await draw({ backend: 'cpu' }, model, size);
    const alone = await draw({ backend: 'cuda', precision: 'f32' }, model, {
      ...size,
      count: 1,
      firstIndex: 1,
    });
    const perImage = drawn.length / size.count;
    if (!alone.every((byte, i) => byte === drawn[perImage + i]))
      failures.push('an image depends on its batch');
    const rate = drawn.filter((byte, i) => byte !== expected[i]).length / drawn.length;
    differences.push({ model, values: drawn.length, rate });
    // One value that falls to the next level changes all that follow it.
    if (!(rate < 0.05))
      failures.push(`${JSON.stringify(model)}: ${rate} of the values differ from the CPU's`);
  }
  return { failures, ...size, differencesFromCpu: differences };
}

async function draw(deviceOptions, config, { count, side, firstIndex = 0 }) {
  const device = await openDevice(deviceOptions);
  const model = await PixelCNN.create(device, { ...config, seed: 3 });
  const { data } = await model.sample({ count, height: side, width: side, seed: 5, firstIndex });
  await device.dispose();
  return data;
}

/** How many logits of the sampler have other bits than those of model.logits on the images it drew. */
async function againstForward(model, { count, side }) {
  const size = { count, height: side, width: side };
  const { level, logits } = await drawWithLogits({ buildSampler, frontOf, frontSteps }, model, size);
  const byteOf = bytesOfLevels(model.config.levels);
  const data = level.map((value) => byteOf[value]);
  const images = { data, ...size, channels: model.config.channels };
  const { data: expected } = await model.logits(images);
  return expected.filter((value, i) => !Object.is(value, logits[i])).length;
}
