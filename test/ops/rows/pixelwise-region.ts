// Draws the regions of ops that compute each pixel from the same pixel of x, and perhaps a condition.
import { paddedShape } from '../../../src/program/front.js';
import type { Recorder } from '../../../src/program/recorder.js';
import { SamplerCanvas, wholeImages } from '../../../src/program/sampler-pass.js';
import { describeTensor, type Tensor } from '../../../src/program/tensor.js';
import type { RegionCase, Tensors, TestTensor } from '../../helpers/op-row.js';
import { withBorder } from '../../helpers/ops.js';
import type { TestRandom } from '../../helpers/random.js';

/** An op from x to y. */
export interface PixelwiseOp {
  readonly op: string;
  readonly images: { readonly n: number; readonly h: number; readonly w: number };
  /** The channels of y. */
  readonly channels: number;
  readonly channelGroups: number;
  readonly x: TestTensor;
  /** The other operands, which have no border. */
  readonly others: Readonly<Record<string, TestTensor>>;
  /** The fields besides those of the region, x, y and the position. */
  fields(r: Recorder, given: Tensors): object;
}

/** Draws a front or rows, for all channel groups at once or one after the other. */
export function pixelwiseRegion(random: TestRandom, index: number, tested: PixelwiseOp): RegionCase {
  const { op, images, channels, channelGroups, x, others } = tested;
  const { n, h, w } = images;
  const row = index % 2 === 0;
  const front = { pad: random.int(0, 3), slope: row ? w + random.int(0, 1) : random.int(1, 3) };
  const canvas = new SamplerCanvas(images, front, describeTensor('unused', [1], 'float32'), channelGroups);
  const depth = x.shape[3]!;
  const bordered: TestTensor = {
    ...x,
    shape: paddedShape(front, n, h, w, depth),
    values: withBorder({ n, h, w, pad: front.pad }, depth, x.values),
  };
  const emit = (r: Recorder, given: Tensors, from: Tensor, y: Tensor, region: object) => {
    const fields = { ...images, channelGroups, precision: r.precisionNumber, ...tested.fields(r, given) };
    r.emit({ op, label: op, fields: { ...fields, ...region, x: from, y }, result: y });
  };
  return {
    text: JSON.stringify({ ...images, channels, channelGroups, ...front, row, with: Object.keys(others) }),
    canvas,
    inputs: { x, 'bordered x': bordered, ...others },
    whole(r, given) {
      const y = r.activation('y', [n, h, w, channels]);
      emit(r, given, given.x!, y, { ...wholeImages, position: null });
      return y;
    },
    region(r, given) {
      const y = r.activation('y', paddedShape(front, n, h, w, channels));
      const all = row || index % 4 === 1;
      const groups = all ? [-1] : Array.from({ length: channelGroups }, (_, group) => group);
      for (const group of groups) {
        const region = { pixels: row ? 2 : 1, ...front, ahead: 0, group };
        emit(r, given, given['bordered x']!, y, { ...region, position: canvas.position });
      }
      return y;
    },
    steps: w + front.slope * (h - 1) + random.int(0, 3),
  };
}
