// Mutates a valid command buffer of all ops and gives it to the addon: argv: seed, cases. Prints counts as JSON.
import { openDevice } from '../../../dist/device/device.js';
import { native } from '../../../dist/device/native.js';
import { accumulate } from '../../../dist/ops/accumulate.js';
import * as adam from '../../../dist/ops/adam.js';
import { addCondition } from '../../../dist/ops/add-condition.js';
import { gatedActivation, gatedActivationBackward } from '../../../dist/ops/gated-activation.js';
import * as conv from '../../../dist/ops/masked-conv2d.js';
import { quantise } from '../../../dist/ops/quantise.js';
import { binarise, randomUniform } from '../../../dist/ops/random.js';
import * as sample from '../../../dist/ops/sample.js';
import { sumPixels } from '../../../dist/ops/sum-pixels.js';
import { pixelWindow, rowsAboveWindow, squareWindow } from '../../../dist/ops/window.js';
import { zero } from '../../../dist/ops/zero.js';
import { encodeOps } from '../../../dist/program/encode.js';
import { paddedShape } from '../../../dist/program/front.js';
import { Recorder } from '../../../dist/program/recorder.js';
import { wholeImages } from '../../../dist/program/sampler-pass.js';
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
const square = { c: channels, k: c, window: squareWindow(5, 'A'), channelGroups: channels };
const above = { c, k: c, window: rowsAboveWindow(3, 'B'), channelGroups: 1 };
const headFilter = { c, k: channels * levels, window: pixelWindow, channelGroups: channels };
const shapeOf = (filter, algorithm) => ({ n, h, w, ...conv.filterFields(r, filter, algorithm) });
const packedOf = (filter, algorithm, direction, weight) => {
  const packed = r.tensor('packed', [conv.packedBytes(r, filter, algorithm, direction)], 'byte');
  const fields = conv.filterFields(r, filter, algorithm);
  conv.maskedConv2dPack(r, 'pack', [
    { ...fields, direction: direction === 'forward' ? 0 : 1, weight, packed },
  ]);
  return packed;
};
const convolution = (filter, algorithm, operands, region = wholeImages, position = null) => {
  const flags = { relu: 1, floatY: 0 };
  const fields = {
    ...shapeOf(filter, algorithm),
    ...region,
    ...flags,
    bias: null,
    add: null,
    ...operands,
    position,
  };
  r.emit({ op: 'maskedConv2d', label: 'forward', fields, result: operands.y });
  return operands.y;
};
const weight = make('input', 'weight', [c, channels, 5, 5]);
const bias = make('input', 'bias', [c]);
const packed = packedOf(square, 'winograd', 'forward', weight);
const y = convolution(square, 'winograd', { x, packed, bias, y: r.tensor('y', [n, h, w, c]) });
const aboveWeight = make('input', 'above', [c, c, 2, 3]);
const abovePacked = packedOf(above, 'direct', 'forward', aboveWeight);
const sum = convolution(above, 'direct', {
  x: y,
  packed: abovePacked,
  add: y,
  y: r.tensor('z', [n, h, w, c]),
});
const table = make('input', 'table', [4, c]);
const row = r.tensor('row', [n, 1, 1, c]);
const lookup = { count: n, rows: 4, size: c, precision: r.precisionNumber, index };
r.emit({ op: 'embedding', label: 'row', fields: { ...lookup, table, y: row }, result: row });
const map = r.tensor('map', [n, h, w, c]);
const cast = {
  count: n * h * w * c,
  precision: r.precisionNumber,
  x: make('input', 'features', map.shape),
  y: map,
};
r.emit({ op: 'cast', label: 'map', fields: cast, result: map });
// A sum with a row for each image, then a gate with a row for each pixel.
const conditioned = addCondition(r, 'conditioned', sum, row, 1, { relu: true });
const gate = gatedActivation(r, 'gate', conditioned, 1, map);
const operands = { x: conditioned, condition: map, gradY: gate };
const gradRow = sumPixels(r, 'row gradient', gatedActivationBackward(r, 'gate gradient', operands));
const gradTable = r.tensor('gradTable', table.shape);
const gradFields = { ...lookup, gradY: gradRow, gradTable };
r.emit({ op: 'embeddingBackward', label: 'table gradient', fields: gradFields, result: gradTable });
const headWeight = make('input', 'head weight', [channels * levels, c, 1, 1]);
const headBias = make('input', 'head bias', [channels * levels]);
const headPacked = packedOf(headFilter, 'direct', 'forward', headWeight);
const g = { n, h, w, c, channels, levels };
const nats = r.tensor('nats', [n], 'float64');
const gradX = r.tensor('gradX', [n, h, w, c]);
r.emit({
  op: 'softmaxCrossEntropy',
  label: 'head',
  fields: {
    ...{ ...g, precision: r.precisionNumber, x: sum, packed: headPacked, bias: headBias, level },
    packedBackward: packedOf(headFilter, 'direct', 'backward', headWeight),
    ...{ reluOutput: sum, nats, gradX },
    gradWeight: r.tensor('gw', headWeight.shape),
    gradBias: r.tensor('gb', headBias.shape),
  },
  result: nats,
});
r.output(nats);
const total = accumulate(r, 'accumulate', gradX, sum, y);
const applied = (filter, algorithm) => ({ filter, shape: shapeOf(filter, algorithm) });
const gradAbove = { x: y, gradY: total, gradWeight: r.tensor('ga', aboveWeight.shape), gradBias: null };
conv.maskedConv2dBackwardWeight(r, 'bw', applied(above, 'direct'), gradAbove);
const gradY = conv.maskedConv2dBackwardInput(r, 'bi', applied(above, 'direct'), {
  gradY: total,
  packed: packedOf(above, 'direct', 'backward', aboveWeight),
  add: gradX,
  reluOutput: y,
});
const gradWeight = r.tensor('gradWeight', weight.shape);
const gradBias = r.tensor('gbias', [c]);
conv.maskedConv2dBackwardWeight(r, 'bw', applied(square, 'winograd'), { x, gradY, gradWeight, gradBias });
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
const front = { pad: 2, slope: 5 };
const position = make('state', 'position', [1], 'int32');
// With guidance, the second half of the images are the first under no condition.
const image = make('state', 'image', paddedShape(front, 2 * n, h, w, channels));
const hidden = make('state', 'hidden', paddedShape(front, 2 * n, h, w, c));
const rows = make('state', 'rows', paddedShape(front, n, h, w, c));
const uniforms = r.tensor('u', [n, h, w, channels]);
randomUniform(r, 'u', { index, random, u: uniforms });
zero(r, 'zero', hidden);
const direct = packedOf(square, 'direct', 'forward', weight);
const onFront = { pixels: 1, ...front, ahead: 3, group: 1 };
convolution(square, 'direct', { x: image, packed: direct, bias, y: hidden }, onFront, position);
const inRow = { pixels: 2, ...front, ahead: 5, group: -1 };
convolution(above, 'direct', { x: hidden, packed: abovePacked, add: hidden, y: rows }, inRow, position);
sample.sampleFront(
  r,
  'draw',
  g,
  { ...onFront, group: 2 },
  { x: hidden, packed: headPacked, bias: headBias, position },
  {
    uniforms,
    temperature: make('input', 'temperature', [1]),
    guidance: make('input', 'guidance', [1]),
    known: make('input', 'known', [n, h, w], 'uint8'),
    level,
    image,
    logits: r.tensor('logits', [n, h, w, channels, levels]),
  },
);
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
  ops: new Set(r.ops.map(({ op }) => op)).size,
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
