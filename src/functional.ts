// Computes a masked convolution of host arrays with one call, forward or backward.
import { isDetached } from './data/check-bytes.js';
import { checkDevice, type Device } from './device/device.js';
import { check } from './errors.js';
import {
  algorithms,
  type Direction,
  type FilterShape,
  type MaskedConv2dShape,
  maskedConv2dBackwardInput,
  maskedConv2dBackwardWeight,
  maskedConv2dForward,
  maskedConv2dPack,
  packedBytes,
} from './ops/masked-conv2d.js';
import { parseOptions, z } from './options.js';
import { Program } from './program/program.js';
import { Recorder } from './program/recorder.js';
import type { Tensor } from './program/tensor.js';
import { isFloat32Array, isSharedArrayBuffer } from './realm.js';

const floats = z.custom<Float32Array>(isFloat32Array, 'expected a Float32Array');
const size = z
  .int()
  .min(1)
  .max(2 ** 20);
const shared = {
  /** Float32Array NHWC. */
  input: floats,
  /** [N, H, W, C] */
  inputShape: z.tuple([size, size, size, size]),
  /** Float32Array OIHW: (outChannels, C, kernelSize, kernelSize). Entries under the mask are not read. */
  weight: floats,
  outChannels: z.int().min(1).max(65536),
  /** Odd. */
  kernelSize: z.int().min(1).max(31),
  maskType: z.enum(['A', 'B']),
  /** The number of contiguous groups of channels. At the centre tap a group sees lower groups (A), or also itself (B). */
  channelGroups: z.int().min(1).max(256).default(1),
  algorithm: z.enum(algorithms).default('direct'),
};
const forwardSchema = z.strictObject({ ...shared, bias: floats.optional() });
const backwardSchema = z.strictObject({ ...shared, bias: floats.optional(), gradOutput: floats });

/**
 * The options of {@link maskedConv2d}.
 *
 * @interface
 */
export type MaskedConv2dOptions = z.input<typeof forwardSchema>;
/**
 * The options of {@link maskedConv2dBackward}.
 *
 * @interface
 */
export type MaskedConv2dBackwardOptions = z.input<typeof backwardSchema>;

/**
 * Computes y = conv(input, weight * mask) + bias with stride 1 and "same" zero padding, and returns it as
 * [N, H, W, outChannels]. It computes in float32 on every device; a device that was opened with `tf32` rounds the factors.
 * Default: algorithm `direct`, and a bias of 0.
 * @throws PixelCnnError ERR_BUFFER_SIZE for an array whose length is not that of its shape; ERR_LIMIT for an array of
 * 2 GiB or more. docs/errors.md explains these and all other codes.
 */
export async function maskedConv2d(device: Device, options: MaskedConv2dOptions): Promise<Float32Array> {
  checkDevice('maskedConv2d', device);
  const parsed = parseOptions('maskedConv2d', forwardSchema, options);
  const shape = shapeOf('maskedConv2d', parsed);
  const bias = parsed.bias ?? new Float32Array(shape.k);
  checkLength('maskedConv2d', 'bias', bias, shape.k);

  const r = hostRecorder(device);
  const x = r.input('input', [shape.n, shape.h, shape.w, shape.c]);
  const w = r.input('weight', [shape.k, shape.c, shape.kernelSize, shape.kernelSize]);
  const b = r.input('bias', [shape.k]);
  const packed = pack(r, shape, 'forward', w);
  r.output(maskedConv2dForward(r, 'maskedConv2d', shape, { x, packed, bias: b, relu: false }));
  const [y] = await runOnce('maskedConv2d', r, shape, [parsed.input, parsed.weight, bias]);
  return y!;
}

/**
 * Computes the gradients of the sum of y * gradOutput, where y is what {@link maskedConv2d} returns: gradInput
 * [N, H, W, C], gradWeight (OIHW, exactly 0 under the mask) and gradBias [outChannels].
 * @throws PixelCnnError as {@link maskedConv2d}.
 */
export async function maskedConv2dBackward(
  device: Device,
  options: MaskedConv2dBackwardOptions,
): Promise<{ gradInput: Float32Array; gradWeight: Float32Array; gradBias: Float32Array }> {
  checkDevice('maskedConv2dBackward', device);
  const parsed = parseOptions('maskedConv2dBackward', backwardSchema, options);
  const shape = shapeOf('maskedConv2dBackward', parsed);
  if (parsed.bias) checkLength('maskedConv2dBackward', 'bias', parsed.bias, shape.k);
  checkLength('maskedConv2dBackward', 'gradOutput', parsed.gradOutput, shape.n * shape.h * shape.w * shape.k);

  const r = hostRecorder(device);
  const x = r.input('input', [shape.n, shape.h, shape.w, shape.c]);
  const weight = r.input('weight', [shape.k, shape.c, shape.kernelSize, shape.kernelSize]);
  const gradY = r.input('gradOutput', [shape.n, shape.h, shape.w, shape.k]);
  const gradWeight = r.tensor('gradWeight', weight.shape);
  const gradBias = r.tensor('gradBias', [shape.k]);
  const packedBackward = pack(r, shape, 'backward', weight);
  r.output(
    maskedConv2dBackwardInput(r, 'maskedConv2dBackward', shape, { gradY, packedBackward, reluOutput: null }),
  );
  maskedConv2dBackwardWeight(r, 'maskedConv2dBackward', shape, { x, gradY, gradWeight, gradBias });
  r.output(gradWeight);
  r.output(gradBias);
  const [gradInput, ...rest] = await runOnce('maskedConv2dBackward', r, shape, [
    parsed.input,
    parsed.weight,
    parsed.gradOutput,
  ]);
  return { gradInput: gradInput!, gradWeight: rest[0]!, gradBias: rest[1]! };
}

/** Creates a recorder for float32, the type of host arrays. `tf32` is kept, because it stores float32 too. */
function hostRecorder(device: Device): Recorder {
  return new Recorder(device, device.info.precision === 'tf32' ? 'tf32' : 'f32');
}

function shapeOf(caller: string, options: z.output<typeof forwardSchema>): MaskedConv2dShape {
  const [n, h, w, c] = options.inputShape;
  const { outChannels: k, kernelSize, maskType, channelGroups, algorithm } = options;
  check(
    kernelSize % 2 === 1,
    'ERR_OUT_OF_RANGE',
    () => `${caller}: kernelSize must be odd, got ${kernelSize}`,
  );
  check(channelGroups <= c && channelGroups <= k, 'ERR_OUT_OF_RANGE', () => {
    return `${caller}: channelGroups must be at most the channels (${c} in, ${k} out), got ${channelGroups}`;
  });
  checkLength(caller, 'input', options.input, n * h * w * c);
  checkLength(caller, 'weight', options.weight, k * c * kernelSize * kernelSize);
  return { n, h, w, c, k, kernelSize, maskType, channelGroups, algorithm };
}

function checkLength(caller: string, name: string, array: Float32Array, length: number): void {
  check(!isSharedArrayBuffer(array.buffer), 'ERR_INVALID_ARG_TYPE', () => {
    return `${caller}: ${name} must not be backed by a SharedArrayBuffer`;
  });
  check(array.length === length, isDetached(array) ? 'ERR_DETACHED' : 'ERR_BUFFER_SIZE', () => {
    return `${caller}: ${name} must have ${length} values, got ${array.length}${isDetached(array) ? ' (its buffer is detached)' : ''}`;
  });
}

function pack(r: Recorder, filter: FilterShape, direction: Direction, weight: Tensor): Tensor {
  const packed = r.tensor('packed', [packedBytes(r, filter, direction)], 'byte');
  maskedConv2dPack(r, 'pack', [{ filter, direction, weight, packed }]);
  return packed;
}

function runOnce(
  caller: string,
  r: Recorder,
  { n, h, w }: MaskedConv2dShape,
  inputs: Float32Array[],
): Promise<Float32Array[]> {
  return r.device.calls.run(caller, { count: n, height: h, width: w }, undefined, async (signal) => {
    // Compiling takes a while, in which the caller may change or detach the arrays.
    const copies = inputs.map((array) => array.slice());
    const program = await Program.compile(r);
    try {
      return (await program.run(copies, 1, signal)).map((buffer) => new Float32Array(buffer));
    } finally {
      program.dispose();
    }
  });
}
