// Records a network for the sampler: pass by pass, at the pixels that are next.
import type { Model } from '../models/model.js';
import type { Network } from '../models/network.js';
import type { DrawOperands } from '../ops/sample.js';
import { type Front, paddedShape } from '../program/front.js';
import { type Reach, Recorder } from '../program/recorder.js';
import { SamplerCanvas, SamplerPass } from '../program/sampler-pass.js';
import { activationType, describeTensor } from '../program/tensor.js';

/** Says which pixels a front has and which passes over a network draw it. The pass for the past is always one. */
export interface Passes {
  readonly front: Front;
  /** Whether a pass computes tensors that see the rows above. */
  readonly rows: boolean;
  /** Whether a pass computes tensors that see the present pixel, after its draw. */
  readonly present: boolean;
  /** The channels of the image and of all activations together. */
  readonly channels: number;
}

/** What recording a network has shown. A network is recorded once, because that takes as long as drawing a small image. */
const recorded = new WeakMap<Network, Pick<Passes, 'rows' | 'present' | 'channels'> & { reach: Reach }>();

/**
 * Returns the front and the passes of a network over images of this width. If no tensor sees whole rows, rows are drawn
 * side by side, each as far ahead of the next as filters reach to the right. Otherwise a front is one pixel, because a row
 * must be complete before anything sees it.
 */
export function passesOf(model: Model, width: number): Passes {
  const known = recorded.get(model.network) ?? recordOnce(model);
  const { above, left, right } = known.reach;
  const slope = known.rows ? Math.max(width, right + 1) : right + 1;
  return { ...known, front: { pad: Math.max(above, left, right), slope } };
}

/** Records a network over an image of one pixel, and keeps what that shows. */
function recordOnce({ device, network, config, raw }: Model) {
  const r = new Recorder(device, { parameters: raw.byName });
  const image = r.activation('image', [1, 1, 1, config.channels]);
  r.sights.setImage(image, config.channels);
  network.features(r, image);
  const activations = r.ops.flatMap(({ result }) => (result && r.sights.has(result) ? [result] : []));
  const found = {
    reach: r.reach,
    rows: r.sights.includes('rows'),
    present: r.sights.includes('present'),
    channels: activations.reduce((sum, { shape }) => sum + shape[3]!, config.channels),
  };
  recorded.set(network, found);
  return found;
}

/** Describes the canvas for n images of h x w pixels. */
export function canvasOf(
  { config, device }: Model,
  { front }: Passes,
  images: { readonly n: number; readonly h: number; readonly w: number },
): SamplerCanvas {
  const { n, h, w } = images;
  const dtype = activationType[device.info.precision];
  const image = describeTensor('image', paddedShape(front, n, h, w, config.channels), dtype);
  return new SamplerCanvas(images, front, image, config.channels);
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
  const features = () => network.features(r, canvas.image);
  if (passes.rows) r.inPass(new SamplerPass(canvas, 'rows', ahead), features);
  for (let channel = 0; channel < config.channels; channel += 1) {
    const past = new SamplerPass(canvas, 'past', ahead, channel);
    r.inPass(past, () => network.head.draw(r, features(), operands));
    if (passes.present) r.inPass(new SamplerPass(canvas, 'present', ahead, channel), features);
  }
}
