// Defines what a network is, and records what is computed with one: logits, likelihoods and training steps.

import { type AdamOperands, adam } from '../ops/adam.js';
import type { Declarations } from '../ops/declarations.js';
import { recordGradients } from '../ops/gradients.js';
import { quantise } from '../ops/quantise.js';
import type { DrawOperands } from '../ops/sample.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** The distribution of a pixel's channels, which a network predicts. */
export interface Head {
  /** Records the parameters of the distribution (N, H, W, channels * levels). */
  logits(r: Recorder, features: Tensor): Tensor;
  /** Records -log p of the levels of each image in nats (N, float64). */
  nats(r: Recorder, features: Tensor, level: Tensor): Tensor;
  /** Records the draw of the channel whose turn it is in the sampler. */
  draw(r: Recorder, features: Tensor, operands: DrawOperands): void;
}

/** An architecture with its configuration. Gradients, files and the sampler all follow from it. */
export interface Network {
  /** The parameters that the layers declare. */
  readonly parameters: Declarations;
  readonly head: Head;
  /** Records the features (N, H, W, any channels) that the head predicts from, given the image (N, H, W, channels). */
  features(r: Recorder, image: Tensor): Tensor;
}

/** A network and the images that it is for. */
interface NetworkOfImages {
  readonly network: Network;
  readonly config: { readonly channels: number; readonly levels: number };
}

/** Records the levels of images of bytes (N, H, W, channels) and the features that the network computes. */
function recordFeatures(r: Recorder, { network, config }: NetworkOfImages, bytes: Tensor) {
  const { level, x } = quantise(r, 'quantise', bytes, config.levels);
  r.sights.setImage(x, config.channels);
  return { level, features: network.features(r, x) };
}

/** Records the logits (N, H, W, channels * levels) of images of bytes. */
export function recordLogits(r: Recorder, of: NetworkOfImages, bytes: Tensor): Tensor {
  return of.network.head.logits(r, recordFeatures(r, of, bytes).features);
}

/** Records the negative log-likelihood of each image in nats (N, float64). */
export function recordNats(r: Recorder, of: NetworkOfImages, bytes: Tensor): Tensor {
  const { level, features } = recordFeatures(r, of, bytes);
  return of.network.head.nats(r, features, level);
}

/**
 * Records one training step on images of bytes, which packs the weights first if the recorder has a list for them. Returns
 * the images' nats (N, float64) before the step.
 */
export function recordTrainingStep(
  r: Recorder,
  of: NetworkOfImages,
  bytes: Tensor,
  optimizer: AdamOperands,
): Tensor {
  const start = r.ops.length;
  const nats = recordNats(r, of, bytes);
  recordGradients(r);
  adam(r, 'adam', optimizer);
  r.options.packs?.record(r, start);
  return nats;
}
