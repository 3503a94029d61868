// Checks one case of an op on a device: its results against float64 loops, its gradient rule against finite differences, and
// its regions against whole images.
import { expect } from 'vitest';
import type { Device } from '../../src/device/device.js';
import type { Precision } from '../../src/device/precision.js';
import { accumulate } from '../../src/ops/accumulate.js';
import { recordGradients } from '../../src/ops/gradients.js';
import { nextFront } from '../../src/ops/sample.js';
import { Program } from '../../src/program/program.js';
import { Recorder } from '../../src/program/recorder.js';
import {
  activationType,
  type DType,
  describeTensor,
  elements,
  type Tensor,
} from '../../src/program/tensor.js';
import { fourPoint } from '../oracle/masked-conv2d.js';
import { expectClose, expectSameBits } from './close.js';
import { decodeActivations, encodeActivations, rounded } from './half-floats.js';
import type { Arrays, OpCase, RegionCase, Tensors, TestTensor } from './op-row.js';
import { withBorder } from './ops.js';
import type { TestRandom } from './random.js';

/** Relative L2 distances that rounding of factors and results explains. */
const limits: Readonly<Record<Precision, number>> = { f32: 1e-5, tf32: 2e-3, bf16: 2e-2, f16: 3e-3 };

function hostArray({ values, type }: TestTensor, precision: Precision): ArrayBufferView {
  if (type === 'activation') return encodeActivations(values, precision);
  const arrays = {
    float32: Float32Array,
    float64: Float64Array,
    uint8: Uint8Array,
    uint32: Uint32Array,
    int32: Int32Array,
  };
  return arrays[type].from(values);
}

/** The values that a device sees of an input. */
function seenValues({ values, type }: TestTensor, precision: Precision): Float64Array {
  if (type === 'activation') return Float64Array.from(values, (value) => rounded(value, precision));
  return type === 'float32' ? Float64Array.from(values, Math.fround) : Float64Array.from(values);
}

function decode(buffer: ArrayBuffer, { dtype }: Tensor): Float64Array {
  switch (dtype) {
    case 'bfloat16':
      return decodeActivations(buffer, 'bf16');
    case 'float16':
      return decodeActivations(buffer, 'f16');
    case 'float64':
      return new Float64Array(buffer);
    case 'uint8':
      return Float64Array.from(new Uint8Array(buffer));
    case 'uint32':
      return Float64Array.from(new Uint32Array(buffer));
    case 'int32':
      return Float64Array.from(new Int32Array(buffer));
    default:
      return Float64Array.from(new Float32Array(buffer));
  }
}

const isInteger = (dtype: DType) => ['uint8', 'uint32', 'int32'].includes(dtype);

/** Runs a recorded program once and returns what it wrote. */
async function run(r: Recorder, inputs: ArrayBufferView[], outputs: Tensors): Promise<Arrays> {
  const names = Object.keys(outputs);
  for (const name of names) r.output(outputs[name]!);
  const program = await Program.compile(r);
  try {
    const results = await program.run(inputs);
    return Object.fromEntries(names.map((name, i) => [name, decode(results[i]!, outputs[name]!)]));
  } finally {
    program.dispose();
  }
}

/** Describes the inputs of a case as states that a run fills. Those that are described already are in `known`. */
function inputTensors(
  r: Recorder,
  inputs: Readonly<Record<string, TestTensor>>,
  known: ReadonlyMap<string, Tensor> = new Map(),
): Tensors {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, type }]) => {
      const dtype = type === 'activation' ? activationType[r.precision] : type;
      const tensor = known.get(name) ?? describeTensor(name, shape, dtype);
      r.states.add(tensor);
      r.fill(tensor);
      return [name, tensor];
    }),
  );
}

/** Fails unless a device computes what the float64 loops of a case do. */
export async function checkReference(device: Device, opCase: OpCase, precision: Precision): Promise<void> {
  const r = new Recorder(device, { precision });
  const outputs = opCase.record(r, inputTensors(r, opCase.inputs));
  const inputs = Object.values(opCase.inputs);
  const actual = await run(
    r,
    inputs.map((input) => hostArray(input, precision)),
    outputs,
  );
  const expected = opCase.reference(
    Object.fromEntries(
      Object.entries(opCase.inputs).map(([name, input]) => [name, seenValues(input, precision)]),
    ),
    precision,
  );
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const [name, values] of Object.entries(expected)) {
    if (isInteger(outputs[name]!.dtype))
      expect([...Array.from(actual[name]!)], name).toEqual(Array.from(values));
    else expectClose(`${precision} ${name}`, actual[name]!, values, limits[precision]);
  }
}

/** The recorded forward and backward pass of an op. */
interface RecordedGradients {
  readonly r: Recorder;
  /** The gradients of parameters and activations. */
  readonly gradients: Tensors;
  /** How many values the op computes. */
  readonly values: number;
}

/**
 * Records an op and its gradients. Activations are copied before the op, because only results of ops get gradients. Unless
 * the result is a loss, the gradient of the result is the last input.
 */
function recordCase({ inputs, gradients: gradientCase }: OpCase, device: Device): RecordedGradients {
  const { parameters, activations, record, loss = false } = gradientCase!;
  const describe = (names: readonly string[], label: string) =>
    new Map(names.map((name) => [name, describeTensor(`${label}${name}`, inputs[name]!.shape, 'float32')]));
  const values = describe(parameters, '');
  const places = describe(parameters, 'gradient ');
  const r = new Recorder(device, { precision: 'f32', parameters: values, gradients: places });
  const given: Record<string, Tensor> = { ...inputTensors(r, inputs, values) };
  const found: Record<string, Tensor> = {};
  for (const name of activations) {
    const copy = copyOp(r, r.requireGradient(given[name]!));
    r.emit({
      ...copy,
      backward(gradients) {
        const gradient = gradients.of(copy.result);
        if (gradient !== undefined) found[name] = gradient;
      },
    });
    given[name] = copy.result;
  }
  const result = record(r, given);
  if (!loss) {
    const gradY = r.state('gradient of the result', result.shape);
    r.fill(gradY);
    r.emit({
      ...copyOp(r, result),
      backward(gradients) {
        gradients.add(result, (sum, reluOutput) => accumulate(r, 'seed', gradY, sum, reluOutput));
      },
    });
  }
  recordGradients(r);
  for (const name of activations) if (found[name] === undefined) expect.fail(`no gradient of ${name}`);
  return { r, gradients: { ...Object.fromEntries(places), ...found }, values: elements(result.shape) };
}

/** Fails unless the gradients that the tape records are those of the reference by finite differences. */
export async function checkGradients(device: Device, opCase: OpCase, random: TestRandom): Promise<void> {
  const { output, loss = false } = opCase.gradients!;
  const { r, gradients, values } = recordCase(opCase, device);
  const weights = random.normals(values);
  const arrays = Object.values(opCase.inputs).map((input) => hostArray(input, 'f32'));
  const actual = await run(r, loss ? arrays : [...arrays, weights], gradients);

  const at: Record<string, Float64Array> = Object.fromEntries(
    Object.entries(opCase.inputs).map(([name, input]) => [name, seenValues(input, 'f32')]),
  );
  const total = () => {
    const results = Array.from(opCase.reference(at, 'f32')[output]!);
    const sum = results.reduce((before, value, i) => before + value * (loss ? 1 : weights[i]!), 0);
    return loss ? sum / elements(opCase.inputs.level!.shape) : sum;
  };
  for (const [name, gradient] of Object.entries(actual)) {
    // Some coordinates of each: every one costs four runs of the loops.
    const some = new Set(Array.from({ length: 20 }, () => random.int(0, gradient.length - 1)));
    const expected = Array.from(some, (i) => withoutRounding(fourPoint(at[name]!, i, 1e-3, total)));
    expectClose(
      `gradient of ${name}`,
      Array.from(some, (i) => gradient[i]!),
      expected,
      1e-4,
    );
  }
}

/** Returns 0 for a difference that is only rounding, of sums that do not depend on the coordinate. */
export const withoutRounding = (difference: number) => (Math.abs(difference) < 1e-9 ? 0 : difference);

/** Describes an op that copies a tensor. */
function copyOp(r: Recorder, x: Tensor) {
  const result = r.activation(`copy of ${x.name}`, x.shape);
  const fields = {
    count: elements(x.shape),
    precision: r.precisionNumber,
    a: x,
    b: null,
    reluOutput: null,
    y: result,
  };
  return { op: 'accumulate', label: `copy ${x.name}`, fields, result };
}

/** Fails unless an op computes in its region the bits that it computes for whole images. */
export async function checkRegion(
  device: Device,
  regionCase: RegionCase,
  precision: Precision,
): Promise<void> {
  const { canvas, inputs, steps } = regionCase;
  const arrays = Object.values(inputs).map((input) => hostArray(input, precision));
  const whole = new Recorder(device, { precision });
  const expected = regionCase.whole(whole, inputTensors(whole, inputs));
  const r = new Recorder(device, { precision });
  const tensors = inputTensors(r, inputs);
  r.states.add(canvas.position);
  const actual = regionCase.region(r, tensors, canvas);
  r.states.add(actual);
  nextFront(r, 'next', 1, canvas.position);
  r.output(actual);
  const outputs = await run(whole, arrays, { expected });
  const program = await Program.compile(r);
  try {
    const [bordered] = await program.run(arrays, steps);
    const values = Float32Array.from(decode(bordered!, actual));
    const size = { ...canvas.images, pad: canvas.front.pad };
    expectSameBits('region', values, withBorder(size, expected.shape[3]!, outputs.expected!));
  } finally {
    program.dispose();
  }
}
