// Runs recorded ops on host arrays, one program at a time.
import type { Device } from '../../src/device/device.js';
import { type Direction, filterFields, maskedConv2dPack, packedBytes } from '../../src/ops/masked-conv2d.js';
import { type Filter, pixelWindow } from '../../src/ops/window.js';
import type { Algorithm } from '../../src/program/algorithm.js';
import { Program } from '../../src/program/program.js';
import { Recorder } from '../../src/program/recorder.js';
import type { DType, Tensor } from '../../src/program/tensor.js';

/** Records a program, runs its ops `repeat` times with `inputs` in the order recorded and returns its outputs. */
export async function runOps(
  device: Device,
  inputs: ArrayBufferView[],
  record: (r: Recorder) => void,
  repeat = 1,
): Promise<ArrayBuffer[]> {
  const r = new Recorder(device);
  record(r);
  const program = await Program.compile(r);
  try {
    return await program.run(inputs, repeat);
  } finally {
    program.dispose();
  }
}

/** Records the packing of `weight` and returns the packed weights. */
export function packed(
  r: Recorder,
  filter: Filter,
  direction: Direction,
  weight: Tensor,
  algorithm: Algorithm = 'direct',
): Tensor {
  const packedFor = r.device.packsOnce ? 'forward' : direction;
  const result = r.tensor('packed', [packedBytes(r, filter, algorithm, packedFor)], 'byte');
  const fields = { ...filterFields(r, filter, algorithm), direction: packedFor === 'forward' ? 0 : 1 };
  maskedConv2dPack(r, 'pack', [{ ...fields, weight, packed: result }]);
  return result;
}

/** Describes an input that keeps its memory, as a program needs whose ops run repeatedly on inputs written once. */
export function fed(r: Recorder, name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
  const tensor = r.state(name, shape, dtype);
  r.fill(tensor);
  return tensor;
}

/** n images of h x w pixels, and the width of their border. */
type BorderedSize = Readonly<Record<'n' | 'h' | 'w' | 'pad', number>>;

/** Returns `values` (n, h, w, channels) inside the zero border of the sampler's activations. */
export function withBorder(
  { n, h, w, pad }: BorderedSize,
  channels: number,
  values: ArrayLike<number>,
): Float32Array {
  const size = { n, h, w, pad };
  const result = new Float32Array(n * (pad + h) * (w + 2 * pad) * channels);
  for (let at = 0; at < values.length; at += 1) result[borderedIndex(size, channels, at)] = values[at]!;
  return result;
}

/** Returns the values (n, h, w, channels) that lie inside the border. */
export function withoutBorder(size: BorderedSize, channels: number, values: ArrayLike<number>): Float64Array {
  const { n, h, w } = size;
  return Float64Array.from(
    { length: n * h * w * channels },
    (_, at) => values[borderedIndex(size, channels, at)]!,
  );
}

function borderedIndex({ h, w, pad }: BorderedSize, channels: number, at: number): number {
  const [pixel, channel] = [Math.floor(at / channels), at % channels];
  const [image, i, j] = [Math.floor(pixel / (h * w)), Math.floor(pixel / w) % h, pixel % w];
  return ((image * (pad + h) + pad + i) * (w + 2 * pad) + pad + j) * channels + channel;
}

/** Returns the filter of a head: 1x1, mask B, a group per image channel. */
export function headFilter(c: number, channels: number, levels: number): Filter {
  return { c, k: channels * levels, window: pixelWindow, channelGroups: channels };
}
