// Tests an op of the op table from one row: against float64 loops, on the CPU and on a GPU in every precision; its gradient
// rule against finite differences; and its regions against whole images.
import { describe, expect, it } from 'vitest';
import type { Device } from '../../src/device/device.js';
import { type Precision, precisions } from '../../src/device/precision.js';
import { accumulate } from '../../src/ops/accumulate.js';
import { recordGradients } from '../../src/ops/gradients.js';
import { Program } from '../../src/program/program.js';
import { Recorder } from '../../src/program/recorder.js';
import type { SamplerCanvas } from '../../src/program/sampler-pass.js';
import { type DType, describeTensor, elements, type Tensor } from '../../src/program/tensor.js';
import { fourPoint } from '../oracle/masked-conv2d.js';
import { expectClose, expectSameBits } from './close.js';
import { decodeActivations, encodeActivations, rounded } from './half-floats.js';
import { withBorder } from './ops.js';
import { TestRandom, withSeed } from './random.js';

/** A tensor of a case: its shape and values. An `activation` is stored in the precision of the program. */
export interface TestTensor {
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
  readonly type: 'activation' | Extract<DType, 'float32' | 'float64' | 'uint8' | 'uint32' | 'int32'>;
}

type Arrays = Readonly<Record<string, ArrayLike<number>>>;
type Tensors = Readonly<Record<string, Tensor>>;

export interface OpCase {
  /** What a failure shows of it. */
  readonly text: string;
  readonly inputs: Readonly<Record<string, TestTensor>>;
  /** Records the op and returns what it writes. */
  record(r: Recorder, inputs: Tensors): Tensors;
  /** Computes the same in float64, from the inputs as the precision stores them. Integers are compared exactly. */
  reference(inputs: Arrays, precision: Precision): Arrays;
  /** For an op with a gradient rule. */
  readonly gradients?: GradientCase;
}

export interface GradientCase {
  /** Records the op with its rule, on parameters that the recorder holds under their names. */
  record(r: Recorder, inputs: Tensors): Tensor;
  /** Inputs that are parameters, and inputs that other ops compute. */
  readonly parameters: readonly string[];
  readonly activations: readonly string[];
  /** The output of `reference` that the op returns, and whether it is a loss: the gradient of its mean is then meant. */
  readonly output: string;
  readonly loss?: boolean;
}

/** What is known of an op of the table. */
export interface OpRow {
  readonly op: string;
  readonly cases: number;
  /** Draws a small case. */
  draw(random: TestRandom, index: number): OpCase;
  /** For an op with a region: records it for whole images, and then in a region of bordered tensors. */
  drawRegion?(random: TestRandom, index: number): RegionCase;
}

export interface RegionCase {
  readonly text: string;
  readonly canvas: SamplerCanvas;
  readonly inputs: Readonly<Record<string, TestTensor>>;
  /** Records the op for whole images and returns its result without border. */
  whole(r: Recorder, inputs: Tensors): Tensor;
  /** Records what runs at each position, and returns the result with border. */
  region(r: Recorder, inputs: Tensors, canvas: SamplerCanvas): Tensor;
  /** Positions until all pixels are computed. */
  readonly steps: number;
}

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

/** Describes the inputs of a case as states that a run fills. */
function inputTensors(r: Recorder, inputs: Readonly<Record<string, TestTensor>>): Tensors {
  return Object.fromEntries(
    Object.entries(inputs).map(([name, { shape, type }]) => {
      const tensor = type === 'activation' ? r.activation(name, shape) : describeTensor(name, shape, type);
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

/** Fails unless the gradients that the tape records are those of the reference by finite differences. */
export async function checkGradients(device: Device, opCase: OpCase, random: TestRandom): Promise<void> {
  const { parameters, activations, output, record, loss = false } = opCase.gradients!;
  const precision = 'f32';
  const r0 = new Recorder(device, { precision });
  const inputs = inputTensors(r0, opCase.inputs);
  const places = new Map(
    parameters.map((name) => [name, r0.tensor(`gradient ${name}`, inputs[name]!.shape)]),
  );
  const r = new Recorder(device, {
    precision,
    parameters: new Map(parameters.map((name) => [name, inputs[name]!])),
    gradients: places,
  });
  for (const tensor of Object.values(inputs)) {
    r.states.add(tensor);
    r.fill(tensor);
  }
  const found = new Map<string, Tensor>();
  const given: Record<string, Tensor> = { ...inputs };
  for (const name of activations) {
    const { fields, ...copy } = copyOp(r, inputs[name]!);
    r.trained(inputs[name]!);
    r.emit({
      ...copy,
      fields,
      backward(gradients) {
        const gradient = gradients.of(copy.result);
        if (gradient !== undefined) found.set(name, gradient);
      },
    });
    given[name] = copy.result;
  }
  const result = record(r, given);
  const weights = random.normals(elements(result.shape));
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
  for (const name of activations) if (!found.has(name)) expect.fail(`no gradient of ${name}`);
  const arrays = Object.values(opCase.inputs).map((input) => hostArray(input, precision));
  const actual = await run(r, loss ? arrays : [...arrays, weights], {
    ...Object.fromEntries(places),
    ...Object.fromEntries(found),
  });

  const at: Record<string, Float64Array> = Object.fromEntries(
    Object.entries(opCase.inputs).map(([name, input]) => [name, seenValues(input, precision)]),
  );
  const total = () => {
    const values = Array.from(opCase.reference(at, precision)[output]!);
    const sum = values.reduce((before, value, i) => before + value * (loss ? 1 : weights[i]!), 0);
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

/** A difference of sums that do not depend on the coordinate is rounding. */
const withoutRounding = (difference: number) => (Math.abs(difference) < 1e-9 ? 0 : difference);

/** An op that copies a tensor. */
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
  r.emit({
    op: 'nextFront',
    label: 'next',
    fields: { fronts: 1, position: canvas.position },
    result: canvas.position,
  });
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

/** Defines the tests of a row. `devices` are the CPU and a GPU, which is emulated where there is none. */
export function testOp(row: OpRow, devices: { cpu: () => Device; gpu: () => Device }): void {
  const first = row.draw(new TestRandom(0), 0);
  const drawn = (cases: number, seed: number, body: (opCase: OpCase, random: TestRandom) => Promise<void>) =>
    withSeed(seed, async (random, at) => {
      for (let index = 0; index < cases; index += 1) {
        const opCase = row.draw(random, index);
        at(`case ${index}: ${opCase.text}`);
        await body(opCase, random);
      }
    });

  describe(row.op, () => {
    it(`agrees with float64 loops, ${row.cases} cases`, async () => {
      await drawn(row.cases, 1, (opCase) => checkReference(devices.cpu(), opCase, 'f32'));
    });

    it.each(precisions)('agrees with float64 loops on a GPU in %s', async (precision) => {
      await drawn(Math.ceil(row.cases / 8), 2, (opCase) => checkReference(devices.gpu(), opCase, precision));
    });

    if (first.gradients !== undefined) {
      it('has the gradients of finite differences', async () => {
        await drawn(Math.ceil(row.cases / 4), 3, (opCase, random) => {
          return checkGradients(devices.cpu(), opCase, random);
        });
      });
    }

    const { drawRegion } = row;
    if (drawRegion === undefined) return;
    const regions = (cases: number, seed: number, body: (regionCase: RegionCase) => Promise<void>) =>
      withSeed(seed, async (random, at) => {
        for (let index = 0; index < cases; index += 1) {
          const regionCase = drawRegion.call(row, random, index);
          at(`case ${index}: ${regionCase.text}`);
          await body(regionCase);
        }
      });
    it('has the bits of whole images on fronts and in rows', async () => {
      await regions(row.cases, 4, (regionCase) => checkRegion(devices.cpu(), regionCase, 'f32'));
    });
    it.each(precisions)(
      'has the bits of whole images on fronts and in rows on a GPU in %s',
      async (precision) => {
        await regions(Math.ceil(row.cases / 10), 5, (regionCase) => {
          return checkRegion(devices.gpu(), regionCase, precision);
        });
      },
    );
  });
}
