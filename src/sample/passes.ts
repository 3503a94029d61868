// Records a network for the sampler: pass by pass, at the pixels that are next.
import type { Model } from '../models/model.js';
import type { DrawOperands } from '../ops/sample.js';
import { type Front, paddedShape } from '../program/front.js';
import { Recorder } from '../program/recorder.js';
import { SamplerCanvas, SamplerPass } from '../program/sampler-pass.js';
import { activationType, describeTensor } from '../program/tensor.js';

/** The passes that a network takes at each front: one for the rows above, one for the past, one for the present pixel. */
export interface Passes {
  readonly front: Front;
  readonly rows: boolean;
  readonly present: boolean;
}

/**
 * Finds out which passes a network takes over images of this width, and how far its wavefront may run ahead. If nothing sees
 * whole rows, a front has a pixel of every row that its filters allow. Otherwise it has one pixel, because a row must be
 * complete before anything sees it.
 */
export function passesOf(model: Model, width: number): Passes {
  const { device, network, config, raw } = model;
  const r = new Recorder(device, { parameters: raw.byName });
  const image = r.activation('image', [1, 1, width, config.channels]);
  r.sights.setImage(image, config.channels);
  network.head.logits(r, network.features(r, image));
  const { above, left, right } = r.reach;
  const rows = r.sights.includes('rows');
  const slope = rows ? Math.max(width, right + 1) : right + 1;
  return { front: { pad: Math.max(above, left, right), slope }, rows, present: r.sights.includes('present') };
}

/** Describes the tensors of a network that draws n images of h x w pixels. */
export function canvasOf(
  model: Model,
  { front }: Passes,
  images: { readonly n: number; readonly h: number; readonly w: number },
): SamplerCanvas {
  const { channels } = model.config;
  const { n, h, w } = images;
  const dtype = activationType[model.device.info.precision];
  const image = describeTensor('image', paddedShape(front, n, h, w, channels), dtype);
  return new SamplerCanvas(images, front, image, channels);
}

/** Records the front that is `ahead` fronts after the position: what the network computes there, and the draws. */
export function recordFront(
  r: Recorder,
  { network, config }: Model,
  passes: Passes,
  canvas: SamplerCanvas,
  ahead: number,
  operands: DrawOperands,
): void {
  const { image } = canvas;
  if (passes.rows) {
    r.pass = new SamplerPass(canvas, 'rows', ahead);
    network.features(r, image);
  }
  for (let channel = 0; channel < config.channels; channel += 1) {
    r.pass = new SamplerPass(canvas, 'past', ahead, channel);
    network.head.draw(r, network.features(r, image), operands);
    if (!passes.present) continue;
    r.pass = new SamplerPass(canvas, 'present', ahead, channel);
    network.features(r, image);
  }
  r.pass = undefined;
}
