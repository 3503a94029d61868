// Computes how long the kernels of the sampler's fronts take, op by op, as the library records them.
import { frontRows, frontSteps } from '../../dist/program/front.js';
import { filterOf } from './filters.mjs';
import { blocksOf, kernelTime } from './gpu-model.mjs';
import * as costs from './kernel-costs.mjs';
import * as products from './product-costs.mjs';
import { recordedFront } from './recorded-programs.mjs';

/** The most ops of a block of fronts, which is one graph (src/sample/front-sampler.ts). */
export const mostBlockOps = 8192;

/** Region::Pixels of native/op_shapes.h. */
const rowRegion = 2;

/** Returns what drawing `batch` images takes on the device, front by front. Times are in seconds. */
export function sampledFronts(shape, gpu) {
  const { height, width, batch } = shape;
  const { config, passes, ops, firstRow } = recordedFront(shape);
  const { front } = passes;
  const steps = frontSteps(front, height, width);

  /** Counts the pixels of one image that an op computes at a position. An op may be some fronts ahead of it. */
  const pixelsAt = ({ fields }, position) => {
    const t = position + fields.ahead;
    if (fields.pixels !== rowRegion) return frontRows(front, height, width, t);
    return t % front.slope === 0 && t / front.slope < height ? width : 0;
  };
  const mostPixels = ({ fields }) =>
    fields.pixels === rowRegion ? width : Math.min(blocksOf(width, front.slope), height);
  const secondsOf = (op, pixels) => {
    const demand = demandOf(op, { pixels: batch * pixels, most: batch * mostPixels(op) }, gpu);
    return kernelTime(demand, gpu).seconds;
  };

  // Every op is launched at every front, also where it has no pixels.
  const known = new Map();
  const secondsAt = (t) => {
    const pixels = ops.map((op) => pixelsAt(op, t));
    const key = pixels.join();
    if (!known.has(key)) known.set(key, secondsOfAll(ops, pixels));
    return known.get(key);
  };
  const secondsOfAll = (all, pixels) =>
    all.reduce((sum, op, i) => sum + secondsOf(op, pixels[i]), 0) + all.length * gpu.nodeGap;
  const lastLayer = ops.findLast(({ op }) => op === 'maskedConv2d');
  return {
    config,
    passes,
    steps,
    blocks: Math.ceil(steps / Math.min(steps, Math.ceil(mostBlockOps / ops.length))),
    beginning: secondsOfAll(
      firstRow,
      firstRow.map((op) => pixelsAt(op, 0)),
    ),
    drawing: Array.from({ length: steps }, (_, t) => secondsAt(t)).reduce((sum, seconds) => sum + seconds, 0),
    lastLayer: secondsOf(lastLayer, mostPixels(lastLayer)),
  };
}

/** Describes one launch of an op of a front. An op computes the output channels of one channel group, or of all. */
function demandOf({ op, label, fields }, { pixels, most }, gpu) {
  const groups = fields.group < 0 ? 1 : fields.channelGroups;
  switch (op) {
    case 'maskedConv2d': {
      const filter = filterOf(fields);
      const k = fields.pairs === 1 ? 2 * blocksOf(filter.k / 2, groups) : blocksOf(filter.k, groups);
      const shape = { ...filter, k, pixels, most, front: true, add: fields.add !== null };
      return products.convolve(shape, gpu);
    }
    case 'gatedActivation':
      return fields.condition === null
        ? costs.gatedRegion({ pixels, channels: blocksOf(fields.c, groups) })
        : costs.conditionalRegion({ pixels, channels: blocksOf(fields.c, groups) });
    case 'addCondition':
      return costs.addConditionRegion({ pixels, channels: blocksOf(fields.c, groups) });
    case 'sampleFront':
      return products.sampleFront({
        pixels,
        c: fields.c,
        levels: fields.levels,
        networks: fields.guidance === null ? 1 : 2,
      });
    default:
      throw new Error(`${label}: the cost of the op '${op}' is not known`);
  }
}
