// Mutates a valid command buffer of all ops and gives it to the addon: argv: seed, cases. Prints counts as JSON.
import { openDevice } from '../../../dist/device/device.js';
import { native } from '../../../dist/device/native.js';
import * as adam from '../../../dist/ops/adam.js';
import { paddedShape } from '../../../dist/ops/front.js';
import * as conv from '../../../dist/ops/masked-conv2d.js';
import { maskedConv2dFront } from '../../../dist/ops/masked-conv2d-front.js';
import { quantise } from '../../../dist/ops/quantise.js';
import { binarise, randomUniform } from '../../../dist/ops/random.js';
import * as sample from '../../../dist/ops/sample.js';
import * as head from '../../../dist/ops/softmax-cross-entropy.js';
import { zero } from '../../../dist/ops/zero.js';
import { encodeOps } from '../../../dist/program/encode.js';
import { Recorder } from '../../../dist/program/recorder.js';
import { blocksOf } from '../../../dist/program/tensor.js';

let state = Number(process.argv[2]) >>> 0;
const word = () => {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return (t ^ (t >>> 14)) >>> 0;
};
const int = (low, high) => low + (word() % (high - low + 1));
const pick = (items) => items[word() % items.length];

const [n, h, w, c, channels, levels] = [2, 5, 4, 6, 3, 4];
const addon = native();
const wrapper = await openDevice({ backend: 'cpu', threads: 2 });
const r = new Recorder(wrapper);
const tensors = [];
const make = (kind, name, shape, dtype) => {
  const tensor = r[kind](name, shape, dtype);
  tensors.push(tensor);
  return tensor;
};
const describe = r.tensor.bind(r);
r.tensor = (name, shape, dtype) => {
  const tensor = describe(name, shape, dtype);
  tensors.push(tensor);
  return tensor;
};

const bytes = make('input', 'bytes', [n, h, w, channels], 'uint8');
const index = make('input', 'index', [n], 'uint32');
const random = make('input', 'random', [4], 'uint32');
const binary = binarise(r, 'binarise', { bytes, index, random });
const { level, x } = quantise(r, 'quantise', binary, levels);
const first = {
  n,
  h,
  w,
  c: channels,
  k: c,
  kernelSize: 5,
  maskType: 'A',
  channelGroups: channels,
  algorithm: 'winograd',
};
const last = { ...first, c, k: channels * levels, kernelSize: 1, maskType: 'B', algorithm: 'direct' };
const packedOf = (filter, direction, weight) => {
  const packed = r.tensor('packed', [conv.packedBytes(r, filter, direction)], 'byte');
  conv.maskedConv2dPack(r, 'pack', [{ filter, direction, weight, packed }]);
  return packed;
};
const weight = make('input', 'weight', [c, channels, 5, 5]);
const bias = make('input', 'bias', [c]);
const y = conv.maskedConv2dForward(r, 'forward', first, {
  x,
  packed: packedOf(first, 'forward', weight),
  bias,
  relu: true,
});
const headWeight = make('input', 'head weight', [channels * levels, c, 1, 1]);
const headBias = make('input', 'head bias', [channels * levels]);
const headPacked = packedOf(last, 'forward', headWeight);
const g = { n, h, w, c, channels, levels };
const operands = { x: y, packed: headPacked, bias: headBias, level };
r.output(head.softmaxCrossEntropy(r, 'head', g, operands));
const gradients = { weight: r.tensor('gw', headWeight.shape), bias: r.tensor('gb', headBias.shape) };
const { gradX } = head.softmaxCrossEntropyBackward(r, 'head backward', g, {
  ...operands,
  packedBackward: packedOf(last, 'backward', headWeight),
  gradWeight: gradients.weight,
  gradBias: gradients.bias,
});
const gradWeight = r.tensor('gradWeight', weight.shape);
conv.maskedConv2dBackwardWeight(r, 'bw', first, {
  x,
  gradY: gradX,
  gradWeight,
  gradBias: r.tensor('gbias', [c]),
});
conv.maskedConv2dBackwardInput(r, 'bi', first, {
  gradY: gradX,
  packedBackward: packedOf(first, 'backward', weight),
  reluOutput: x,
});
const like = (name) => make('state', name, weight.shape);
adam.adam(r, 'adam', {
  gradients: gradWeight,
  hyper: make('input', 'hyper', [8]),
  state: make('state', 'counters', [4], 'float64'),
  parameters: weight,
  moment1: like('m'),
  moment2: like('v'),
  average: like('a'),
});
const front = { pad: 2, slope: 3 };
const direct = { ...first, algorithm: 'direct' };
const position = make('state', 'position', [1], 'int32');
const image = make('state', 'image', paddedShape(front, n, h, w, channels));
const hidden = make('state', 'hidden', paddedShape(front, n, h, w, c));
const uniforms = r.tensor('u', [n, h, w, channels]);
randomUniform(r, 'u', { index, random, u: uniforms });
zero(r, 'zero', hidden);
const fixed = { bias, position, packed: packedOf(direct, 'forward', weight), x: image, y: hidden };
maskedConv2dFront(r, 'front', direct, front, 1, 3, fixed);
sample.sampleFront(r, 'draw', g, front, 2, 3, {
  x: hidden,
  packed: headPacked,
  bias: headBias,
  uniforms,
  temperature: make('input', 'temperature', [1]),
  position,
  known: make('input', 'known', [n, h, w], 'uint8'),
  level,
  image,
  logits: r.tensor('logits', [n, h, w, channels, levels]),
});
sample.nextFront(r, 'next', 4, position);
r.output(level);

const places = new Map();
let blocks = 0;
for (const tensor of tensors) {
  places.set(tensor, { arena: 0, block: blocks });
  blocks += blocksOf(tensor.bytes);
}
const regions = (list) => list.flatMap((tensor) => [0, places.get(tensor).block, tensor.bytes]);
const valid = {
  commands: [...encodeOps(r.ops, (tensor) => places.get(tensor))],
  inputs: regions(r.inputs),
  outputs: regions(r.outputs),
};

const device = await addon.openDevice('cpu', 0, 2, '');
const guardBytes = 1 << 16;
const pattern = Uint8Array.from({ length: guardBytes }, (_, i) => (i * 31) % 251);
const before = await addon.allocateArena(device, guardBytes);
const arena = await addon.allocateArena(device, blocks * 256);
const after = await addon.allocateArena(device, guardBytes);
for (const guard of [before, after]) await addon.writeArena(guard, 0, pattern);

const counts = {
  ops: new Set(r.ops.map(({ name }) => name)).size,
  worked: 0,
  refused: 0,
  codes: {},
  wrong: [],
};
const interesting = [
  -(2 ** 31),
  -256,
  -2,
  -1,
  0,
  1,
  2,
  3,
  7,
  16,
  255,
  256,
  1 << 14,
  1 << 16,
  1 << 20,
  2 ** 31 - 1,
];

function mutate(list) {
  const result = [...list];
  for (let k = pick([1, 1, 1, 2, 3, 8]); k > 0; k -= 1) {
    const at = int(0, Math.max(0, result.length - 1));
    const kind = int(0, 9);
    if (kind < 4) result[at] = pick(interesting);
    else if (kind < 6) result[at] += pick([-1, 1, 2, -2, 16]);
    else if (kind === 6) result[at] ^= 1 << int(0, 31);
    else if (kind === 7) result[at] = result[int(0, result.length - 1)];
    else if (kind === 8) result.splice(at, pick([1, 1, 3]));
    else result.splice(at, 0, pick(interesting));
  }
  if (int(0, 19) === 0) result.length = int(0, result.length);
  return result;
}

function note(error, what) {
  if (error instanceof Error && typeof error.code === 'string' && error.message.length > 0) {
    counts.refused += 1;
    counts.codes[error.code] = (counts.codes[error.code] ?? 0) + 1;
  } else {
    counts.wrong.push(`${what}: ${String(error)}`);
  }
}

async function attempt(name, { commands, inputs, outputs }) {
  try {
    const program = addon.createProgram(
      Int32Array.from(commands),
      [arena],
      Int32Array.from(inputs),
      Int32Array.from(outputs),
    );
    const data = [];
    for (let i = 2; i < inputs.length; i += 3) {
      data.push(Uint8Array.from({ length: inputs[i] }, () => (int(0, 3) === 0 ? word() & 255 : 0)));
    }
    await addon.runProgram(program, data, int(1, 3));
    if (int(0, 3) === 0) await addon.traceProgram(program, data);
    addon.releaseProgram(program);
    counts.worked += 1;
  } catch (error) {
    note(error, name);
  }
}

await attempt('the valid program', valid);
counts.validWorked = counts.worked === 1;
for (let i = 0; i < Number(process.argv[3]); i += 1) {
  const part = pick(['commands', 'commands', 'commands', 'inputs', 'outputs']);
  await attempt(`case ${i} (${part})`, { ...valid, [part]: mutate(valid[part]) });
}
await attempt('the valid program again', valid);
for (const guard of [before, after]) {
  const bytesNow = new Uint8Array(await addon.readArena(guard, 0, guardBytes));
  if (Buffer.compare(bytesNow, pattern) !== 0) counts.wrong.push('memory of another arena was written');
}
await addon.closeDevice(device);
await wrapper.dispose();
console.log(JSON.stringify(counts));
