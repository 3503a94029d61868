// Computes a masked convolution of host arrays with one call, forward or backward.
import { isDetached } from './data/check-array.js';
import { checkDevice, type Device } from './device/device.js';
import { check } from './errors.js';
import {
  filterFields,
  maskedConv2dBackwardInput,
  maskedConv2dBackwardWeight,
  type NamedFilter,
  packedFilter,
  maskedConv2d as recordMaskedConv2d,
} from './ops/masked-conv2d.js';
import { squareWindow, weightShape } from './ops/window.js';
import { parseOptions, z } from './options.js';
import { type Algorithm, algorithms } from './program/algorithm.js';
import { Program } from './program/program.js';
import { Recorder } from './program/recorder.js';
import { describeTensor } from './program/tensor.js';
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
  const { filter, images, algorithm } = convolutionOf('maskedConv2d', parsed);
  const bias = parsed.bias ?? new Float32Array(filter.k);
  checkLength('maskedConv2d', 'bias', bias, filter.k);

  const { r, x } = hostRecorder(device, filter, images);
  r.fill(r.parameter(`${filter.name}.bias`));
  r.output(recordMaskedConv2d(r, filter, x, { algorithm }));
  const [y] = await runOnce('maskedConv2d', r, images, [parsed.input, parsed.weight, bias]);
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
  const { filter, images, algorithm } = convolutionOf('maskedConv2dBackward', parsed);
  const { n, h, w } = images;
  if (parsed.bias) checkLength('maskedConv2dBackward', 'bias', parsed.bias, filter.k);
  checkLength('maskedConv2dBackward', 'gradOutput', parsed.gradOutput, n * h * w * filter.k);

  const { r, x, weight } = hostRecorder(device, filter, images);
  const gradY = r.input('gradOutput', [n, h, w, filter.k]);
  const gradWeight = r.tensor('gradWeight', weight.shape);
  const gradBias = r.tensor('gradBias', [filter.k]);
  const packed = packedFilter(r, filter, algorithm, 'backward');
  const applied = { filter, shape: { ...images, ...filterFields(r, filter, algorithm) } };
  const operands = { gradY, packed, add: null, reluOutput: null };
  r.output(maskedConv2dBackwardInput(r, 'maskedConv2dBackward', applied, operands));
  maskedConv2dBackwardWeight(r, 'maskedConv2dBackward', applied, { x, gradY, gradWeight, gradBias });
  r.output(gradWeight);
  r.output(gradBias);
  const [gradInput, ...rest] = await runOnce('maskedConv2dBackward', r, images, [
    parsed.input,
    parsed.weight,
    parsed.gradOutput,
  ]);
  return { gradInput: gradInput!, gradWeight: rest[0]!, gradBias: rest[1]! };
}

interface Images {
  readonly n: number;
  readonly h: number;
  readonly w: number;
}

/**
 * Creates a recorder for float32, the type of host arrays, whose first inputs are x and the weight. `tf32` is kept, because
 * it stores float32 too.
 */
function hostRecorder(device: Device, filter: NamedFilter, { n, h, w }: Images) {
  const weight = describeTensor('weight', weightShape(filter), 'float32');
  const bias = describeTensor('bias', [filter.k], 'float32');
  const r = new Recorder(device, {
    precision: device.info.precision === 'tf32' ? 'tf32' : 'f32',
    parameters: new Map([
      [`${filter.name}.weight`, weight],
      [`${filter.name}.bias`, bias],
    ]),
  });
  const x = r.input('input', [n, h, w, filter.c]);
  r.fill(weight);
  return { r, x, weight };
}

function convolutionOf(
  caller: string,
  options: z.output<typeof forwardSchema>,
): { filter: NamedFilter; images: Images; algorithm: Algorithm } {
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
  const filter = {
    name: caller,
    c,
    k,
    window: squareWindow(kernelSize, maskType),
    channelGroups,
    bias: true,
  };
  return { filter, images: { n, h, w }, algorithm };
}

function checkLength(caller: string, name: string, array: Float32Array, length: number): void {
  check(!isSharedArrayBuffer(array.buffer), 'ERR_INVALID_ARG_TYPE', () => {
    return `${caller}: ${name} must not be backed by a SharedArrayBuffer`;
  });
  check(array.length === length, isDetached(array) ? 'ERR_DETACHED' : 'ERR_BUFFER_SIZE', () => {
    return `${caller}: ${name} must have ${length} values, got ${array.length}${isDetached(array) ? ' (its buffer is detached)' : ''}`;
  });
}

function runOnce(
  caller: string,
  r: Recorder,
  { n, h, w }: Images,
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
