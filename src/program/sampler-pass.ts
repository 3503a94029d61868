// Defines the passes in which the sampler computes a network: which ops belong to a pass, and at which pixels they
// run.
//
// A network is recorded once for each pass. The ops whose results see only the condition (sight.ts) run once, before
// the first pixel. Those that see the rows above run when a new row begins, for the whole row, or some columns ahead of
// the pixels that are next. Those that see the past run at the pixels that are next, for one channel group at a time,
// before that channel is drawn. Those that see the present pixel run after it is drawn.
import { check } from '../errors.js';
import { type Front, paddedShape } from './front.js';
import type { Reach } from './reach.js';
import { type Sight, Sights } from './sight.js';
import { type DType, describeTensor, type Tensor } from './tensor.js';

/** The values of Region::Pixels in native/op_shapes.h: whole images, the wavefront, or a row that begins. */
const regionPixels = { image: 0, front: 1, row: 2 } as const;
const allGroups = -1;

/** The pixels that an op computes: the fields of Region in native/op_shapes.h, which explains them. */
export interface Region {
  readonly pixels: number;
  readonly pad: number;
  readonly slope: number;
  readonly ahead: number;
  /** The channel group whose outputs are computed, or -1 for all. */
  readonly group: number;
}

/** The region of an op that computes all pixels of images without a border. */
export const wholeImages: Region = {
  pixels: regionPixels.image,
  pad: 0,
  slope: 1,
  ahead: 0,
  group: allGroups,
};

/** How many columns ahead of the pixels that are next an op runs, by the name of its result. Others run at these pixels. */
export type Leads = ReadonlyMap<string, number>;

/** The number of images and their size in pixels. */
export interface Images {
  readonly n: number;
  readonly h: number;
  readonly w: number;
}

/** The canvas of the sampler: the images as far as they are drawn, and the network's activations for them. */
export class SamplerCanvas {
  readonly images: Images;
  readonly front: Front;
  /** (1, int32) the position t of the wavefront. */
  readonly position = describeTensor('position', [1], 'int32');
  /** The pixels that are drawn so far, as the network's input, with border. The others are 0. */
  readonly image: Tensor;
  /** The number of channels that are drawn one by one. */
  readonly channelGroups: number;
  readonly sights = new Sights();
  /** Tensors that are read at another front, in another pass or for another group than they are computed in. */
  readonly #kept = new Set<Tensor>();
  readonly #tensors = new Map<string, Tensor>();

  constructor(images: Images, front: Front, image: Tensor, channelGroups: number) {
    this.images = images;
    this.front = front;
    this.image = image;
    this.channelGroups = channelGroups;
    this.sights.setImage(image, channelGroups);
  }

  /** The tensors that keep their memory from front to front. A batch begins with zeros in all of them. */
  get states(): readonly Tensor[] {
    return [this.image, ...this.#kept, this.position];
  }

  /**
   * Returns the activations of this name for `images`. They have the border of the canvas, unless they follow from the
   * condition alone: (N, H, W, channels). The first call describes them.
   */
  tensor(name: string, { n, h, w }: Images, channels: number, dtype: DType, sees: Sight): Tensor {
    const known = this.#tensors.get(name);
    if (known !== undefined) return known;
    const shape = sees === 'condition' ? [n, h, w, channels] : paddedShape(this.front, n, h, w, channels);
    const tensor = describeTensor(name, shape, dtype);
    this.#tensors.set(name, tensor);
    this.sights.set(tensor, sees);
    // Ops for one group may read the channels of all groups, with weights of 0 for those that are not drawn yet.
    if (this.channelGroups > 1) this.#kept.add(tensor);
    return tensor;
  }

  /** Returns the region of the pixels that are `ahead` fronts after the position, for one channel group or all. */
  frontRegion(ahead: number, group = allGroups): Region {
    return { ...this.front, pixels: regionPixels.front, ahead, group };
  }

  /** Returns the region of the row that begins `ahead` fronts after the position, if one does. */
  rowRegion(ahead: number): Region {
    return { ...this.front, pixels: regionPixels.row, ahead, group: allGroups };
  }

  /** Has activations keep their memory from front to front. Parameters and packed weights keep theirs anyway. */
  keep(tensor: Tensor): void {
    if (this.sights.has(tensor)) this.#kept.add(tensor);
  }
}

/** A pass over a network. It computes the tensors that see exactly `sees`, at the pixels and for the group of a region. */
export class SamplerPass {
  readonly canvas: SamplerCanvas;
  readonly sees: Sight;
  readonly region: Region;
  readonly #leads: Leads;
  readonly #names = new Set<string>();

  /** With `leads`, results are computed that many columns to the right of the region. */
  constructor(canvas: SamplerCanvas, sees: Sight, region: Region, leads: Leads = new Map()) {
    this.canvas = canvas;
    this.sees = sees;
    this.region = region;
    this.#leads = leads;
  }

  /** Returns the pixels at which this pass computes a result. */
  regionOf({ name }: Tensor): Region {
    return { ...this.region, ahead: this.region.ahead + this.#lead(name) };
  }

  #lead(name: string): number {
    return this.#leads.get(name) ?? 0;
  }

  /** Whether this pass computes the results that see this much. */
  computes(sees: Sight): boolean {
    return sees === this.sees;
  }

  /**
   * Returns the tensor for the result of an op, in whichever pass the op is computed.
   * @throws PixelCnnError ERR_PROGRAM for a second op of one name, whose result would overwrite the first.
   */
  result(name: string, images: Images, channels: number, dtype: DType, sees: Sight): Tensor {
    check(
      !this.#names.has(name),
      'ERR_PROGRAM',
      () => `'${name}' is computed twice: a layer may be used once`,
    );
    this.#names.add(name);
    return this.canvas.tensor(name, images, channels, dtype, sees);
  }

  /** Notes that an op reads x as far as `reach` around each pixel, so that x is kept for later fronts. */
  noteNeighbourhood(x: Tensor, { above, left, right }: Reach): void {
    if (above + left + right > 0) this.canvas.keep(x);
  }

  /**
   * Notes that a tensor is read by the op that computes `result`, or by the draw if there is no result. It is kept if it is
   * computed in another pass or at another front.
   */
  noteOperand(tensor: Tensor, result?: Tensor): void {
    const sameFront = this.#lead(tensor.name) === (result === undefined ? 0 : this.#lead(result.name));
    if (this.canvas.sights.of(tensor) !== this.sees || !sameFront) this.canvas.keep(tensor);
  }
}
