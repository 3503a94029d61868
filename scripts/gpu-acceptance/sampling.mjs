// Runs the part `sampling`: it compares the sampler's logits with a full forward pass, bit for bit in every
// precision, counts how many values differ from the CPU's images in f32, and checks that all batches give the same
// images.

import { bytesOfLevels } from '../../dist/data/levels.js';
import { openDevice, PixelCNN } from '../../dist/index.js';
import { frontSteps } from '../../dist/program/front.js';
import { buildSampler } from '../../dist/sample/front-sampler.js';
import { passesOf } from '../../dist/sample/passes.js';
import { drawWithLogits } from '../../test/helpers/draw.mjs';
import { tinyNetworks } from './networks.mjs';
import { attempt } from './part.mjs';

/** One value that falls to the next level changes all that follow it, so the limit is on the share of values. */
const mostDiffering = 0.05;

export async function sampling({ emulated, architecture = 'plain', say }) {
  const size = emulated ? { count: 2, side: 5 } : { count: 64, side: 28 };
  const models = emulated ? tinyModels(architecture) : realModels(architecture);
  for (const [model, config] of Object.entries(models)) {
    for (const precision of ['bf16', 'f32', 'tf32', 'f16'])
      await attempt(say, { check: 'sampler is forward', model, precision }, () =>
        againstForward(config, precision, size),
      );
    await attempt(say, { check: 'images of the CPU', model, precision: 'f32' }, () =>
      againstCpu(config, size),
    );
  }
}

function realModels(architecture) {
  const rgb = { architecture, channels: 3, hiddenChannels: 96, layers: 5, levels: 32, kernelSize: 3 };
  const models = { default: { architecture }, rgb };
  if (architecture === 'plain') return models;
  // A gated network that sees more than half of the width computes whole rows first, others draw rows side by side.
  const wholeRows = { architecture, hiddenChannels: 16, layers: 6, levels: 2, kernelSize: 7 };
  return { ...models, wholeRows };
}

function tinyModels(architecture) {
  const tiny = tinyNetworks[architecture];
  return architecture === 'plain'
    ? { tiny }
    : { tiny, sideBySide: { ...tiny, layers: 2, kernelSize: 1, firstKernelSize: 3 } };
}

/**
 * Counts the logits of the sampler, by single fronts and by a block of all fronts, whose bits differ from those of
 * model.logits on the images that it drew.
 */
async function againstForward(config, precision, { count, side }) {
  const device = await openDevice({ backend: 'cuda', precision });
  const model = await PixelCNN.create(device, { ...config, seed: 3 });
  const size = { count, height: side, width: side };
  const library = { buildSampler, passesOf, frontSteps };
  const { logits: single } = await drawWithLogits(library, model, { ...size, program: 'front' });
  const { level, logits } = await drawWithLogits(library, model, { ...size, program: 'block' });
  const byteOf = bytesOfLevels(model.config.levels);
  const data = level.map((value) => byteOf[value]);
  const images = { data, ...size, channels: model.config.channels };
  const { data: expected } = await model.logits(images);
  await device.dispose();
  const isSame = (value, i) => Object.is(value, logits[i]) && Object.is(value, single[i]);
  const differing = expected.filter((value, i) => !isSame(value, i)).length;
  const failure = `${precision}: ${differing} of ${expected.length} logits are not those of a forward pass`;
  return { logits: expected.length, differing, ...(differing === 0 ? {} : { failure }) };
}

async function againstCpu(config, size) {
  const drawn = await draw({ backend: 'cuda', precision: 'f32' }, config, size);
  const alone = await draw({ backend: 'cuda', precision: 'f32' }, config, {
    ...size,
    count: 1,
    firstIndex: 1,
  });
  const perImage = drawn.length / size.count;
  if (!alone.every((byte, i) => byte === drawn[perImage + i]))
    return { failure: 'an image depends on its batch' };
  const expected = await draw({ backend: 'cpu' }, config, size);
  const differing = drawn.filter((byte, i) => byte !== expected[i]).length / drawn.length;
  const failure = `${differing} of the values differ from the CPU's, limit ${mostDiffering}`;
  return { values: drawn.length, differing, ...(differing < mostDiffering ? {} : { failure }) };
}

async function draw(deviceOptions, config, { count, side, firstIndex = 0 }) {
  const device = await openDevice(deviceOptions);
  const model = await PixelCNN.create(device, { ...config, seed: 3 });
  const { data } = await model.sample({ count, height: side, width: side, seed: 5, firstIndex });
  await device.dispose();
  return data;
}
