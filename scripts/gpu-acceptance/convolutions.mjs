// Makes random problems of convolutions and gates and runs them through the addon in any precision. Operands are numbers that the
// precision holds exactly, so that a difference from the CPU comes from the device: in f32 all bits are in use, and
// TF32 would show.

import { gatedActivation, gatedActivationBackward } from '../../dist/ops/gated-activation.js';
import * as ops from '../../dist/ops/masked-conv2d.js';
import { rowSoFarWindow, rowsAboveWindow, squareWindow, weightShape } from '../../dist/ops/window.js';
import { Program } from '../../dist/program/program.js';
import { Recorder } from '../../dist/program/recorder.js';
import { activationType, describeTensor } from '../../dist/program/tensor.js';

/** Draws uniform 32-bit words (mulberry32). */
export function randomWords(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let word = Math.imul(state ^ (state >>> 15), 1 | state);
    word = (word + Math.imul(word ^ (word >>> 7), 61 | word)) ^ word;
    return (word ^ (word >>> 14)) >>> 0;
  };
}

/** The windows of plain networks, and those of the two stacks of gated ones. */
const windows = { square: squareWindow, rowsAbove: rowsAboveWindow, rowSoFar: rowSoFarWindow };

/** Draws a random problem; with `aligned` its channels are multiples of 8. */
export function convolutionCase(seed, precision, algorithm, { small, aligned }) {
  const bits = precision === 'f32' ? 23 : 7;
  const words = randomWords(1 + seed);
  const integer = (low, high) => low + (words() % (high - low + 1));
  const channels = () => (aligned ? 8 * integer(1, small ? 2 : 16) : integer(1, small ? 9 : 70));
  const side = () => integer(1, small ? 5 : 33);
  const pairs = words() % 2 === 0;
  const window = Object.keys(windows)[words() % 3];
  const [c, k] = [channels(), (pairs ? 2 : 1) * channels()];
  const geometry = {
    n: integer(1, small ? 2 : 9),
    h: side(),
    w: side(),
    c,
    k,
    window,
    // Mask A hides all that a window over rows above has if it is 1x1.
    kernelSize: 2 * integer(window === 'square' ? 0 : 1, 3) + 1,
    maskType: words() % 2 === 0 ? 'A' : 'B',
    channelGroups: words() % 2 === 0 ? 1 : Math.min(3, c, pairs ? k / 2 : k),
    pairs,
    add: words() % 2 === 0,
    bias: words() % 4 !== 0,
    algorithm,
  };
  const { n, h, w } = geometry;
  const filter = filterOf(geometry);
  const values = (count, largest) =>
    Float32Array.from({ length: count }, () => integer(-(2 ** bits), 2 ** bits) * (largest / 2 ** bits));
  return {
    name: Object.values(geometry).join(' '),
    geometry,
    filter,
    x: values(n * h * w * c, 2),
    gradY: values(n * h * w * k, 2),
    weight: values(k * c * filter.window.rows * filter.window.columns, 0.25),
    bias: values(k, 1),
    ...(geometry.add ? { add: values(n * h * w * k, 2), addToGradient: values(n * h * w * c, 2) } : {}),
  };
}

function filterOf({ kernelSize, window, maskType, ...geometry }) {
  const { c, k, channelGroups, pairs, bias } = geometry;
  return { name: 'conv', c, k, window: windows[window](kernelSize, maskType), channelGroups, pairs, bias };
}

/** Runs the three ops and returns their results as float32. */
export async function runConvolution(device, problem, precision) {
  const { geometry, filter, x, gradY, weight, bias, add, addToGradient } = problem;
  const { n, h, w, c, k } = geometry;
  const algorithm = device.info.backend === 'cpu' ? 'direct' : geometry.algorithm;
  const dtype = activationType[precision];
  const parameters = new Map([
    ['conv.weight', describeTensor('weight', weightShape(filter), 'float32')],
    ...(filter.bias ? [['conv.bias', describeTensor('bias', [k], 'float32')]] : []),
  ]);
  const r = new Recorder(device, { precision, algorithm, parameters });
  const input = r.input('x', [n, h, w, c], dtype);
  const gradOutput = r.input('gradY', [n, h, w, k], dtype);
  for (const parameter of parameters.values()) r.fill(parameter);
  const addend = add === undefined ? null : r.input('add', [n, h, w, k], dtype);
  const sum = add === undefined ? null : r.input('addToGradient', [n, h, w, c], dtype);
  r.output(ops.maskedConv2d(r, filter, input, { add: addend }));
  const applied = { filter, shape: { n, h, w, ...ops.filterFields(r, filter, algorithm) } };
  const packed = ops.packedFilter(r, filter, algorithm, 'backward');
  const backward = { gradY: gradOutput, packed, add: sum, reluOutput: null };
  r.output(ops.maskedConv2dBackwardInput(r, 'backward input', applied, backward));
  const gradWeight = r.tensor('gradWeight', weightShape(filter));
  const gradBias = filter.bias ? r.tensor('gradBias', [k]) : null;
  const gradients = { x: input, gradY: gradOutput, gradWeight, gradBias };
  ops.maskedConv2dBackwardWeight(r, 'backward weight', applied, gradients);
  r.output(gradWeight);
  if (gradBias !== null) r.output(gradBias);
  const program = await Program.compile(r);
  try {
    const added = add === undefined ? [] : [encode(add, dtype), encode(addToGradient, dtype)];
    const parameterValues = filter.bias ? [weight, bias] : [weight];
    const inputs = [encode(x, dtype), encode(gradY, dtype), ...parameterValues, ...added];
    const [y, gradInput, ...rest] = await program.run(inputs);
    // The op divides gradients of parameters by the scale of stored f16 gradients (native/ops.h: gradient_scale).
    const scale = precision === 'f16' ? 2 ** Math.floor(Math.log2(n * h * w)) : 1;
    const [weightGradient, biasGradient] = rest.map((buffer) =>
      new Float32Array(buffer).map((value) => value * scale),
    );
    return {
      forward: decode(y, dtype),
      gradInput: decode(gradInput, dtype),
      gradWeight: weightGradient,
      ...(biasGradient === undefined ? {} : { gradBias: biasGradient }),
    };
  } finally {
    program.dispose();
  }
}

/** Draws a random problem of a gate. */
export function gateCase(seed, precision, { small }) {
  const words = randomWords(1 + seed);
  const integer = (low, high) => low + (words() % (high - low + 1));
  const bits = precision === 'f32' ? 23 : 7;
  const [n, h, w, c] = [integer(1, 3), integer(1, 9), integer(1, 9), integer(1, small ? 9 : 200)];
  // Beyond 8 the halves are all but constant, and their gradients tiny.
  const values = (count, largest) =>
    Float32Array.from({ length: count }, () => integer(-(2 ** bits), 2 ** bits) * (largest / 2 ** bits));
  const size = n * h * w * c;
  return {
    name: `gate ${n} ${h} ${w} ${c}`,
    shape: [n, h, w, c],
    x: values(2 * size, 8),
    gradY: values(size, 2),
  };
}

/** Runs a gate and its gradient and returns their results as float32. */
export async function runGate(device, { shape, x, gradY }, precision) {
  const dtype = activationType[precision];
  const [n, h, w, c] = shape;
  const r = new Recorder(device, { precision });
  const halves = r.input('x', [n, h, w, 2 * c], dtype);
  const gradOutput = r.input('gradY', shape, dtype);
  r.output(gatedActivation(r, 'gate', halves, 1));
  r.output(gatedActivationBackward(r, 'gate gradient', { x: halves, condition: null, gradY: gradOutput }));
  const program = await Program.compile(r);
  try {
    const [y, gradX] = await program.run([encode(x, dtype), encode(gradY, dtype)]);
    return { gate: decode(y, dtype), gateGradient: decode(gradX, dtype) };
  } finally {
    program.dispose();
  }
}

/** Stores float32 numbers that the type holds exactly and that are neither subnormal nor infinite in it. */
function encode(values, dtype) {
  if (dtype === 'float32') return values;
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  if (dtype === 'bfloat16') return Uint16Array.from(bits, (word) => word >>> 16);
  return Uint16Array.from(bits, (word) => {
    const sign = (word >>> 16) & 0x8000;
    const magnitude = word & 0x7fffffff;
    return magnitude === 0 ? sign : sign | ((magnitude - (112 << 23)) >>> 13);
  });
}

function decode(buffer, dtype) {
  if (dtype === 'float32') return new Float32Array(buffer);
  const words = new Uint16Array(buffer);
  if (dtype === 'bfloat16') return new Float32Array(Uint32Array.from(words, (word) => word << 16).buffer);
  return Float32Array.from(words, (word) => {
    const exponent = (word >>> 10) & 31;
    const mantissa = word & 1023;
    const sign = word & 0x8000 ? -1 : 1;
    if (exponent === 31) return mantissa === 0 ? sign * Infinity : Number.NaN;
    return exponent === 0 ? sign * mantissa * 2 ** -24 : sign * (1024 + mantissa) * 2 ** (exponent - 25);
  });
}
