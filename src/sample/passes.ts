// Records a network for the sampler: pass by pass, at the pixels that are next.
import type { Model } from '../models/model.js';
import type { Network } from '../models/network.js';
import type { DrawOperands } from '../ops/sample.js';
import { type Front, paddedShape } from '../program/front.js';
import type { Reach } from '../program/reach.js';
import { Recorder } from '../program/recorder.js';
import { type Leads, SamplerCanvas, SamplerPass } from '../program/sampler-pass.js';
import { activationType, describeTensor } from '../program/tensor.js';
import { type SideBySide, sideBySide } from './leads.js';

/** Says which pixels a front has and which passes over a network draw it. There always is a pass for the past. */
export interface Passes {
  readonly front: Front;
  /**
   * How a pass computes tensors that see the rows above: not at all if there are none, for whole rows when they begin, or by
   * leads, so that rows are drawn side by side.
   */
  readonly rows: 'none' | 'whole' | Leads;
  /** Whether a pass computes tensors that see the present pixel, after its draw. */
  readonly present: boolean;
  /** The channels of the image and of all activations together. */
  readonly channels: number;
}

/** What recording a network has shown. A network is recorded once, because that takes as long as drawing a small image. */
interface Recorded extends SideBySide, Pick<Passes, 'present' | 'channels'> {
  readonly reach: Reach;
  /** Whether tensors see the rows above. */
  readonly rows: boolean;
}
const recorded = new WeakMap<Network, Recorded>();

/**
 * The least number of rows that a front crosses in a wide image, for rows to be drawn side by side. On the CPU this was
 * measured: with fewer, it is faster to compute whole rows and then the pixels of many images one by one. A GPU gains by
 * fewer and longer fronts as soon as there are two rows; this is a prediction.
 */
const leastRows = { cpu: 3, cuda: 2 };

/**
 * Returns the front and the passes of a network over images of this width. A front crosses several rows, each as far ahead
 * of the next as the network sees to the right. If that is far, and ops compute what sees the rows above, a front is one
 * pixel instead, and they run for a whole row when it begins: there are more fronts then, and at most of them these ops have nothing to do.
 */
export function passesOf(model: Model, width: number): Passes {
  const { reach, rows, leads, slope, present, channels } = recorded.get(model.network) ?? recordOnce(model);
  const pad = Math.max(reach.above, reach.left, reach.right);
  const least = Math.max(slope, reach.right + 1);
  if (!rows) return { front: { pad, slope: least }, rows: 'none', present, channels };
  const rowsOfFront = model.device.info.backend === 'cuda' ? leastRows.cuda : leastRows.cpu;
  return rowsOfFront * least <= width
    ? { front: { pad, slope: least }, rows: leads, present, channels }
    : { front: { pad, slope: Math.max(width, reach.right + 1) }, rows: 'whole', present, channels };
}

/** Records a network over an image of one pixel, and keeps what that shows. */
function recordOnce({ device, network, config, raw }: Model): Recorded {
  const r = new Recorder(device, { parameters: raw.byName });
  const image = r.activation('image', [1, 1, 1, config.channels]);
  r.sights.setImage(image, config.channels);
  network.features(r, image);
  const activations = r.ops.flatMap(({ result }) => (result && r.sights.has(result) ? [result] : []));
  const found = {
    ...sideBySide(r),
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
  const { rows } = passes;
  if (rows === 'whole') r.inPass(new SamplerPass(canvas, 'rows', canvas.rowRegion(ahead)), features);
  else if (rows !== 'none')
    r.inPass(new SamplerPass(canvas, 'rows', canvas.frontRegion(ahead), rows), features);
  for (let channel = 0; channel < config.channels; channel += 1) {
    const region = canvas.frontRegion(ahead, channel);
    r.inPass(new SamplerPass(canvas, 'past', region), () => network.head.draw(r, features(), operands));
    if (passes.present) r.inPass(new SamplerPass(canvas, 'present', region), features);
  }
}

/**
 * Records what a batch begins with, before its first front: with leads, ops run only at columns that far ahead, so they
 * compute row 0, which sees no pixel, as a whole here.
 */
export function recordFirstRow(
  r: Recorder,
  { network }: Model,
  { rows }: Passes,
  canvas: SamplerCanvas,
): void {
  if (rows === 'none' || rows === 'whole') return;
  r.inPass(new SamplerPass(canvas, 'rows', canvas.rowRegion(0)), () => network.features(r, canvas.image));
}
