// Running recorded ops on host arrays, one program at a time.
import type { Device } from '../../src/device/device.js';
import {
  type Direction,
  type MaskedConv2dGeometry,
  maskedConv2dPack,
  packedBytes,
} from '../../src/ops/masked-conv2d.js';
import { Program } from '../../src/program/program.js';
import { Recorder } from '../../src/program/recorder.js';
import type { Tensor } from '../../src/program/tensor.js';

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
export function packed(
  r: Recorder,
  geometry: MaskedConv2dGeometry,
  direction: Direction,
  weight: Tensor,
): Tensor {
  const result = r.tensor('packed', [packedBytes(r, geometry, direction)], 'byte');
  maskedConv2dPack(r, 'pack', [{ geometry, direction, weight, packed: result }]);
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
): MaskedConv2dGeometry {
  const k = channels * levels;
  return { n, h, w, c, k, kernelSize: 1, maskType: 'B', groups: channels, algorithm: 'direct' };
}
