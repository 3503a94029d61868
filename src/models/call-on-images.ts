// Runs a forward pass over images as one call: checks its arguments, waits for its turn, and copies the images.
import type { ImageBatch } from '../data/image-batch.js';
import { parseOptions } from '../options.js';
import { checkImages, copyImages } from './check-images.js';
import { givenCondition } from './given-condition.js';
import type { ForwardOptions } from './likelihood.js';
import type { Model } from './model.js';
import { type InferenceOptions, inferenceSchema } from './options.js';
import { chooseWeights, withWeights } from './weights.js';

/** Checks the arguments of a call at once, and runs `body` when the device admits the call and the weights are its own. */
export async function callOnImages<R>(
  caller: string,
  model: Model,
  images: ImageBatch,
  options: InferenceOptions,
  body: (model: Model, images: ImageBatch, options: ForwardOptions) => Promise<R>,
): Promise<R> {
  const parsed = parseOptions(caller, inferenceSchema, options);
  // Refuses weights that the model lacks at once. withWeights chooses again when it is the call's turn.
  chooseWeights(caller, model, parsed.weights);
  const given = checkImages(`${caller}: images`, images, model);
  const condition = givenCondition(caller, model, parsed, given, given);
  const { algorithm } = parsed;
  return model.device.calls.run(caller, given, parsed.signal, (signal) => {
    const copy = copyImages(given);
    return withWeights(caller, model, parsed.weights, signal, (weights) =>
      body(model, copy, { algorithm, weights, condition, signal }),
    );
  });
}
