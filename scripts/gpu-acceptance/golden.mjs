// Runs the part `gated-golden`: logits, likelihoods, gradients and samples of a small gated network are those that
// PyTorch computed in float64 (test/golden), in every precision.
import { readFileSync } from 'node:fs';
import { encodeModel } from '../../dist/checkpoint/model-file.js';
import { float32Of, parseSafetensors } from '../../dist/checkpoint/safetensors.js';
import { bytesOfLevels, levelOfByte } from '../../dist/data/levels.js';
import { openDevice, PixelCNN } from '../../dist/index.js';
import { trainSchema } from '../../dist/train/options.js';
import { TrainingStep } from '../../dist/train/training-step.js';
import { root } from '../steps.mjs';
import { attempt, relativeL2 } from './part.mjs';

/**
 * The largest relative distances (L2) of logits and nats, and of the gradient of a tensor. Those of logits are what tests hold
 * plain networks to. A gradient has passed every layer twice, and adds up contributions that mostly cancel. Correct code
 * reached 4e-7 in f32, 2.4e-3 in tf32, 1.2e-2 in f16 and 5.3e-2 in bf16 on the emulated GPU.
 */
export const limits = {
  f32: { values: 1e-5, gradients: 1e-5 },
  tf32: { values: 2e-3, gradients: 1e-2 },
  f16: { values: 3e-3, gradients: 2e-2 },
  bf16: { values: 2e-2, gradients: 0.16 },
};

export async function golden({ say }) {
  const file = readGolden(`${root}test/golden/gated_binary.safetensors`);
  for (const precision of Object.keys(limits))
    await attempt(say, { check: 'golden', precision }, () =>
      compareWithGolden({ backend: 'cuda', precision }, file, limits[precision]),
    );
}

/** Reads a golden file. Images of it are NCHW and become NHWC. */
export function readGolden(path) {
  const { metadata, tensors } = parseSafetensors(readFileSync(path), { file: path });
  const values = (name) => {
    const tensor = tensors.get(name);
    return tensor.dtype === 'U8' ? Float32Array.from(tensor.data) : float32Of(tensor);
  };
  const startingWith = (prefix) =>
    new Map(
      [...tensors]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, { shape }]) => [name.slice(prefix.length), { shape, data: values(name) }]),
    );
  const { input, condition, likelihood, ...config } = JSON.parse(metadata.config);
  const images = (name) => channelsLast(values(name), tensors.get(name).shape);
  return { config, values, images, shape: (name) => tensors.get(name).shape, startingWith };
}

/** Returns (N, ..., H, W) as (N, H, W, ...), with the axes between in the opposite order. */
function channelsLast(values, shape) {
  const between = shape.slice(1, -2);
  const pixels = shape.at(-2) * shape.at(-1);
  const [outer, inner] = between.length === 2 ? between : [1, between[0]];
  return values.map((_, i) => {
    const [o, c] = [i % outer, Math.floor(i / outer) % inner];
    const [pixel, image] = [Math.floor(i / outer / inner) % pixels, Math.floor(i / outer / inner / pixels)];
    return values[((image * outer + o) * inner + c) * pixels + pixel];
  });
}

/** Returns the distances of a device's results from a golden file, and as `failure` those beyond `limit`. */
export async function compareWithGolden(deviceOptions, file, limit) {
  const device = await openDevice(deviceOptions);
  const parameters = file.startingWith('param.');
  const encoded = encodeModel({ config: file.config, imageSize: undefined, weights: 'raw', parameters });
  const model = await PixelCNN.load(device, encoded);
  const [count, channels, height, width] = file.shape('levels');
  const byteOf = bytesOfLevels(file.config.levels);
  const bytes = Uint8Array.from(file.images('levels'), (level) => byteOf[level]);
  const images = { data: bytes, count, height, width, channels };

  const { data: logits } = await model.logits(images);
  const uniforms = file.images('uniforms');
  const drawn = await model.sample({ count, height, width, uniforms });
  const sampled = file.images('sampledLevels');
  const differing = drawn.data.filter(
    (byte, i) => levelOfByte(byte, file.config.levels) !== sampled[i],
  ).length;
  // The gradients that a step leaves are those at the weights before it.
  const size = { height, width, dynamic: false, algorithm: 'direct' };
  const step = await TrainingStep.create(model.internals(), size);
  const { nats } = await step.run({ bytes, count }, trainSchema.parse({}));
  const gradients = await step.gradients();
  const distances = {
    logits: relativeL2(logits, file.images('logits')),
    nats: relativeL2(nats, file.values('nllNatsPerImage')),
    gradients: largest(
      [...gradients].map(([name, { data }]) => relativeL2(data, file.values(`grad.${name}`))),
    ),
  };
  await device.dispose();
  const limitOf = (what) => (what === 'gradients' ? limit.gradients : limit.values);
  const wrong = Object.entries(distances).filter(([what, distance]) => !(distance <= limitOf(what)));
  // Other precisions may draw another level where a uniform number lies at its edge.
  const complaints = wrong.map(([what, distance]) => `${what} differ by ${distance}, limit ${limitOf(what)}`);
  if (differing > 0 && device.info.precision === 'f32')
    complaints.push(`${differing} of ${sampled.length} sampled levels differ`);
  const failure = `${device.info.precision}: ${complaints.join('; ')}`;
  return { ...distances, differing, ...(complaints.length === 0 ? {} : { failure }) };
}

/** Returns the largest of some distances, NaN if one of them is NaN. */
function largest(distances) {
  return distances.reduce((most, distance) => Math.max(most, distance));
}
