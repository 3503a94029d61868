// Loads models from files onto a device, and saves them.
import type { Device } from '../device/device.js';
import type { PixelCnnOptions } from '../models/config.js';
import { Model } from '../models/model.js';
import type { Weights } from '../models/weights.js';
import { writeFileAtomic } from './atomic-file.js';
import { decodeModel, encodeModel, weightsIn } from './model-file.js';
import { readModelFile } from './pretrained.js';

/**
 * Loads a model from a file, from its bytes or by the name of a pretrained model, and returns what was found and
 * assumed in the file, if that is a PyTorch state dict.
 */
export async function loadModel(
  device: Device,
  source: string | Uint8Array,
  expected: PixelCnnOptions,
): Promise<{ model: Model; notes: readonly string[] }> {
  const { bytes, name } =
    typeof source === 'string' ? await readModelFile(source) : { bytes: source, name: undefined };
  const file = decodeModel(bytes, expected, name);
  const { config, parameters, average, notes } = file;
  const model = await Model.create(device, config, { parameters, average, holds: weightsIn(file) });
  model.imageSize = file.imageSize;
  model.values = file.values;
  model.classNames = file.classNames;
  model.protocol = file.protocol;
  model.step = file.step;
  return { model, notes };
}

/** Saves one set of weights and all that the model says about them, completely or not at all. */
export async function saveModel(model: Model, path: string, weights: Weights): Promise<void> {
  const { config, imageSize, values, classNames, protocol, step } = model;
  const parameters = await model[weights].read(model.arena);
  const file = { config, imageSize, values, classNames, protocol, step, weights, parameters };
  await writeFileAtomic(path, encodeModel(file));
}
