// Runs recorded ops on host arrays, one program at a time.
import type { Device } from '../../src/device/device.js';
import {
  type Direction,
  type FilterShape,
  type MaskedConv2dShape,
  maskedConv2dPack,
  packedBytes,
} from '../../src/ops/masked-conv2d.js';
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

/** Records the packing of `weight` into a tensor of its own. */
export function packed(r: Recorder, filter: FilterShape, direction: Direction, weight: Tensor): Tensor {
  const result = r.tensor('packed', [packedBytes(r, filter, direction)], 'byte');
  maskedConv2dPack(r, 'pack', [{ filter, direction, weight, packed: result }]);
  return result;
}

/** An input that keeps its memory: programs that run their ops repeatedly have inputs that are written once. */
export function fed(r: Recorder, name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
  const tensor = r.state(name, shape, dtype);
  r.fill(tensor);
  return tensor;
}

/** `values` (n, h, w, channels) inside the zero border of the sampler's activations. */
export function withBorder(
  { n, h, w, pad }: Readonly<Record<'n' | 'h' | 'w' | 'pad', number>>,
  channels: number,
  values: Float32Array,
): Float32Array {
  const width = w + 2 * pad;
  const result = new Float32Array(n * (pad + h) * width * channels);
  for (let b = 0; b < n; b += 1)
    for (let i = 0; i < h; i += 1) {
      const from = (b * h + i) * w * channels;
      const to = ((b * (pad + h) + pad + i) * width + pad) * channels;
      result.set(values.subarray(from, from + w * channels), to);
    }
  return result;
}

/** The head as a masked convolution: 1x1, mask B, a group per image channel. */
export function headConvolution(
  n: number,
  h: number,
  w: number,
  c: number,
  channels: number,
  levels: number,
): MaskedConv2dShape {
  const k = channels * levels;
  return { n, h, w, c, k, kernelSize: 1, maskType: 'B', channelGroups: channels, algorithm: 'direct' };
}
