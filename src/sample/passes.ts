// Records a network for the sampler: pass by pass, at the pixels that are next.
import { describeCondition, recordCondition } from '../models/condition.js';
import type { Model } from '../models/model.js';
import type { Network } from '../models/network.js';
import type { DrawOperands } from '../ops/sample.js';
import { type Front, paddedShape } from '../program/front.js';
import type { Reach } from '../program/reach.js';
import { Recorder } from '../program/recorder.js';
import { type Images, type Leads, SamplerCanvas, SamplerPass, wholeImages } from '../program/sampler-pass.js';
import { activationType, describeTensor, type Tensor } from '../program/tensor.js';
import { type SideBySide, sideBySide } from './leads.js';

/**
 * Says which pixels a front has and which passes over a network draw it. There always is a pass for the condition, which may
 * have nothing to do, and one for the past.
 */
export interface Passes {
  readonly front: Front;
  /**
   * How a pass computes tensors that see the rows above: not at all if there are none, for whole rows when they begin, or by
   * leads, so that rows are drawn side by side.
   */
  readonly rows: 'none' | 'whole' | Leads;
  /** Whether a pass computes tensors that see the present pixel, after its draw. */
  readonly present: boolean;
  /** The channels of the image and of all activations together, which are kept for every pixel. */
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

/** Records a network over an image of two pixels, and keeps what that shows. */
function recordOnce({ device, network, config, raw }: Model): Recorded {
  const r = new Recorder(device, { parameters: raw.byName });
  const images = { n: 1, h: 1, w: 2 };
  const image = r.activation('image', [1, 1, 2, config.channels]);
  r.sights.setImage(image, config.channels);
  network.features(r, image, recordCondition(r, describeCondition(config, images)));
  // A vector for each image is no activation of every pixel: it has one pixel here, and the others have two.
  const activations = r.ops.flatMap(({ result }) =>
    result && r.sights.has(result) && result.shape[2] === images.w ? [result] : [],
  );
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

/** What the programs of a sampler have in common: the canvas, and the condition that its images are drawn given. */
export interface Drawing {
  readonly canvas: SamplerCanvas;
  /** As {@link describeCondition} describes it. */
  readonly condition: Tensor | null;
}

/** Describes the canvas and the condition of n images of h x w pixels. */
export function drawingOf({ config, device }: Model, { front }: Passes, images: Images): Drawing {
  const { n, h, w } = images;
  const dtype = activationType[device.info.precision];
  const image = describeTensor('image', paddedShape(front, n, h, w, config.channels), dtype);
  const canvas = new SamplerCanvas(images, front, image, config.channels);
  return { canvas, condition: describeCondition(config, images) };
}

/** Returns a function that records a network's features in whichever pass is being recorded. */
function featuresOf(r: Recorder, { network }: Model, { canvas, condition }: Drawing): () => Tensor {
  return () => network.features(r, canvas.image, recordCondition(r, condition));
}

/** Records the front that is `ahead` fronts after the position: what the network computes there, and the draws. */
export function recordFront(
  r: Recorder,
  model: Model,
  passes: Passes,
  drawing: Drawing,
  ahead: number,
  operands: DrawOperands,
): void {
  const features = featuresOf(r, model, drawing);
  const { canvas } = drawing;
  const { rows } = passes;
  if (rows === 'whole') r.inPass(new SamplerPass(canvas, 'rows', canvas.rowRegion(ahead)), features);
  else if (rows !== 'none')
    r.inPass(new SamplerPass(canvas, 'rows', canvas.frontRegion(ahead), rows), features);
  const { network, config } = model;
  for (let channel = 0; channel < config.channels; channel += 1) {
    const region = canvas.frontRegion(ahead, channel);
    r.inPass(new SamplerPass(canvas, 'past', region), () => network.head.draw(r, features(), operands));
    if (passes.present) r.inPass(new SamplerPass(canvas, 'present', region), features);
  }
}

/**
 * Records what a batch begins with, before its first front: what follows from the condition alone and, with leads, row 0 of
 * what sees the rows above, because those ops run only at columns that far ahead.
 */
export function recordBeginning(r: Recorder, model: Model, { rows }: Passes, drawing: Drawing): void {
  const features = featuresOf(r, model, drawing);
  const { canvas } = drawing;
  r.inPass(new SamplerPass(canvas, 'condition', wholeImages), features);
  if (rows === 'none' || rows === 'whole') return;
  r.inPass(new SamplerPass(canvas, 'rows', canvas.rowRegion(0)), features);
}
