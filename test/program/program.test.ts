// Tests programs: malformed command buffers are refused natively and never crash; traces tell labels, shapes and
// NaN.
import { describe, expect, it, vi } from 'vitest';
import { Device, openDevice } from '../../src/device/device.js';
import { native } from '../../src/device/native.js';
import type { PixelCnnError } from '../../src/errors.js';
import { filterFields, maskedConv2d, maskedConv2dPack, packedBytes } from '../../src/ops/masked-conv2d.js';
import { quantise } from '../../src/ops/quantise.js';
import { squareWindow, weightShape } from '../../src/ops/window.js';
import { zero } from '../../src/ops/zero.js';
import { Arena, ArenaLayout } from '../../src/program/arena.js';
import { encodeOps } from '../../src/program/encode.js';
import { Program } from '../../src/program/program.js';
import { operandsOf } from '../../src/program/recorded-op.js';
import { Recorder } from '../../src/program/recorder.js';
import { blockBytes, blocksOf, describeTensor, type Tensor } from '../../src/program/tensor.js';
import { runChild } from '../helpers/child.js';
import { testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const device = testDevice();

describe('malformed command buffers', () => {
  it.each([1, 2, 3])('2,000 mutations work or are refused with a code, no crash, seed %d', async (seed) => {
    const child = await runChild('program/children/fuzz.mjs', { args: [String(seed), '2000'] });
    expect(child.signal, `seed ${seed}: ${child.stderr}`).toBe(null);
    expect(child.stderr).toBe('');
    expect(child.code).toBe(0);
    const counts = JSON.parse(child.stdout) as {
      ops: number;
      worked: number;
      refused: number;
      codes: Record<string, number>;
      wrong: string[];
      validWorked: boolean;
    };
    console.info(`fuzz seed ${seed}: ${counts.worked} worked, ${counts.refused} refused`, counts.codes);
    expect(counts.wrong).toEqual([]);
    expect(counts.validWorked, 'the program before its mutation').toBe(true);
    expect(counts.ops, 'kinds of ops in it').toBe(native().opTable.length);
    expect(counts.worked + counts.refused).toBe(2002);
    expect(counts.refused).toBeGreaterThan(800);
    expect(counts.worked).toBeGreaterThan(50);
  });
});

describe('malformed lists of filters', () => {
  const filters = [3, 5].map((kernelSize) => {
    return { c: 3, k: 6, window: squareWindow(kernelSize, 'B'), channelGroups: 1 };
  });
  // Wire: id, length, count; ten integers of a filter and a direction for each; then weight and packed for each.
  const first = 3;
  const second = first + 12;
  const tensors = second + 12;

  /** What the native side says to the wire of two filters once `change` has been at it; undefined if it takes it. */
  async function refusal(change: (wire: number[]) => void) {
    const r = new Recorder(device());
    const packs = filters.map((filter) => {
      const weight = r.input('weight', weightShape(filter));
      const packed = r.tensor('packed', [packedBytes(r, filter, 'direct', 'forward')], 'byte');
      return { ...filterFields(r, filter, 'direct'), direction: 0, weight, packed };
    });
    maskedConv2dPack(r, 'pack', packs);
    const places = new Map<Tensor | null, { arena: number; block: number }>();
    let blocks = 0;
    for (const tensor of operandsOf(r.ops[0]!)) {
      places.set(tensor, { arena: 0, block: blocks });
      blocks += blocksOf(tensor!.bytes);
    }
    const wire = [...encodeOps(r.ops, (tensor) => places.get(tensor)!)];
    change(wire);
    wire[1] = wire.length - 2;
    const arena = await Arena.allocate(device(), blocks * blockBytes);
    try {
      const none = new Int32Array();
      native().releaseProgram(native().createProgram(Int32Array.from(wire), [arena.handle], none, none));
      return undefined;
    } catch (error) {
      const { code, message } = error as PixelCnnError;
      expect(code).toBe('ERR_PROGRAM');
      return message;
    } finally {
      arena.release();
    }
  }

  it('a right one is taken', async () => expect(await refusal(() => undefined)).toBe(undefined));

  it.each<[string, (wire: number[]) => void, RegExp]>([
    ['no filter', (wire) => wire.splice(2, 1, 0), /: count must be in \[1, 32\], got 0$/],
    ['33 filters', (wire) => wire.splice(2, 1, 33), /: count must be in \[1, 32\], got 33$/],
    ['a negative number of them', (wire) => wire.splice(2, 1, -1), /: count must be in \[1, 32\], got -1$/],
    ['nothing', (wire) => wire.splice(2), /: the buffer ends before count$/],
    ['fewer than the count', (wire) => wire.splice(2, 1, 3), /, filter 2: c must be in \[1, 16384\], got 0$/],
    ['fewer numbers than the count', (wire) => wire.splice(second), /, filter 1: the buffer ends before c$/],
    ['more than the count', (wire) => wire.splice(2, 1, 1), /, filter 0: weight must be in \[0, 0\], got 3$/],
    [
      'a filter without tensors',
      (wire) => wire.splice(tensors + 4),
      /, filter 1: the buffer ends before weight$/,
    ],
    ['a tensor cut in half', (wire) => wire.splice(-1), /, filter 1: the buffer ends before packed$/],
    ['an integer too many', (wire) => wire.push(0), /\(maskedConv2dPack\): 1 integers too many$/],
    [
      'a pixel outside its window',
      (wire) => wire.splice(second + 4, 1, 5),
      /, filter 1: the output pixel must lie inside the window/,
    ],
    [
      'a direction',
      (wire) => wire.splice(first + 11, 1, 2),
      /, filter 0: direction must be in \[0, 1\], got 2$/,
    ],
    [
      'groups',
      (wire) => wire.splice(second + 7, 1, 4),
      /, filter 1: there must be a channel for every group$/,
    ],
    [
      'a weight',
      (wire) => wire.splice(-3, 1, 99),
      /, filter 1: weight needs 450 x 4 bytes at offset 25344 of/,
    ],
    [
      'a packed tensor',
      (wire) => wire.splice(-1, 1, 99),
      /, filter 1: packed needs \d+ x 1 bytes at offset 25344/,
    ],
    [
      'an absent tensor',
      (wire) => wire.splice(tensors, 1, -1),
      /, filter 0: weight must be in \[0, 0\], got -1$/,
    ],
    [
      'a larger filter',
      (wire) => wire.splice(second + 2, 1, 31),
      /, filter 1: weight needs 2790 x 4 bytes at/,
    ],
  ])('wrong: %s', async (_, change, message) => {
    const refused = await refusal(change);
    expect(refused).toMatch(message);
    expect(refused).toMatch(/^op 0 \(maskedConv2dPack\)/);
  });
});

async function convolutionProgram(): Promise<{ program: Program; inputs: Float32Array[] }> {
  const window = squareWindow(3, 'B');
  const filter = { name: 'layer', c: 3, k: 6, window, channelGroups: 1, bias: true };
  const weight = describeTensor('weight', [6, 3, 3, 3], 'float32');
  const bias = describeTensor('bias', [6], 'float32');
  const parameters = new Map([
    ['layer.weight', weight],
    ['layer.bias', bias],
  ]);
  const r = new Recorder(device(), { parameters });
  const x = r.input('x', [2, 5, 4, 3]);
  for (const parameter of parameters.values()) r.fill(parameter);
  r.output(maskedConv2d(r, filter, x, { relu: true, purpose: 'one' }));
  const random = new TestRandom(1);
  const inputs = [random.normals(120), random.normals(162), random.normals(6)];
  return { program: await Program.compile(r), inputs };
}

describe('trace', () => {
  it('tells label, op, shape, time and that all is finite', async () => {
    const { program, inputs } = await convolutionProgram();
    const trace = await program.trace(inputs);
    expect(trace.map(({ label, op, shape }) => ({ label, op, shape: shape.join('x') }))).toEqual([
      { label: 'layer pack', op: 'maskedConv2dPack', shape: expect.stringMatching(/^\d+$/) },
      { label: 'layer one', op: 'maskedConv2d', shape: '2x5x4x6' },
    ]);
    for (const { milliseconds, nonFinite } of trace) {
      expect(milliseconds).toBeGreaterThanOrEqual(0);
      expect(nonFinite).toBe(0);
    }
    program.dispose();
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('counts a planted %d where it comes out', async (bad) => {
    const { program, inputs } = await convolutionProgram();
    const bias = inputs[2]!.slice();
    bias[4] = bad;
    const everywhere = await program.trace([inputs[0]!, inputs[1]!, bias]);
    expect(everywhere[1]!.nonFinite, 'one channel of 2x5x4 pixels').toBe(40);
    // The first pixel of the last row of image 0 is seen by itself and its right neighbour.
    const x = inputs[0]!.slice();
    x[(4 * 4 + 0) * 3] = bad;
    const local = await program.trace([x, inputs[1]!, inputs[2]!]);
    expect(local[1]!.nonFinite).toBeGreaterThan(0);
    expect(local[1]!.nonFinite).toBeLessThanOrEqual(12);
    program.dispose();
  });
});

describe('programs', () => {
  it('take exactly their inputs', async () => {
    const { program, inputs } = await convolutionProgram();
    const code = (list: ArrayBufferView[], repeat?: number) =>
      program.run(list, repeat).then(
        () => 'worked',
        (error: { code: string }) => error.code,
      );
    expect(await code(inputs)).toBe('worked');
    expect(await code(inputs.slice(1))).toBe('ERR_INVALID_ARG_VALUE');
    expect(await code([...inputs, new Float32Array(1)])).toBe('ERR_INVALID_ARG_VALUE');
    expect(await code([inputs[0]!, inputs[1]!, new Float32Array(7)])).toBe('ERR_BUFFER_SIZE');
    expect(await code([inputs[0]!, inputs[1]!, new Float32Array(5)])).toBe('ERR_BUFFER_SIZE');
    for (const repeat of [0, -1, 1.5, Number.NaN, 2 ** 25])
      expect(await code(inputs, repeat)).toBe('ERR_OUT_OF_RANGE');
    expect(await code(inputs), 'after all that').toBe('worked');
    program.dispose();
    program.dispose();
    expect(() => program.step(inputs)).toThrowError(expect.objectContaining({ code: 'ERR_DISPOSED' }));
  });

  it('keep the memory of states from run to run, zero at first', async () => {
    const r = new Recorder(device());
    const kept = r.state('kept', [4]);
    const bytes = r.input('bytes', [4], 'uint8');
    r.output(kept);
    r.output(quantise(r, 'quantise', bytes, 256).x);
    const program = await Program.compile(r);
    const [first] = await program.run([Uint8Array.of(1, 2, 3, 4)]);
    expect([...new Float32Array(first!)]).toEqual([0, 0, 0, 0]);
    program.dispose();
  });

  it('that are refused leave no memory behind: none is asked for, or it is given back', async () => {
    const allocate = vi.spyOn(Device.prototype, 'allocate');
    const release = vi.spyOn(Arena.prototype, 'release');
    try {
      const large = new Recorder(device());
      large.output(large.tensor('large', [2 ** 29]));
      await expect(Program.compile(large)).rejects.toMatchObject({ code: 'ERR_LIMIT' });
      expect(allocate).not.toHaveBeenCalled();

      const wrong = new Recorder(device());
      quantise(wrong, 'quantise', wrong.input('bytes', [4], 'uint8'), 257);
      await expect(Program.compile(wrong)).rejects.toMatchObject({ code: 'ERR_PROGRAM' });
      expect(allocate).toHaveBeenCalledTimes(1);
      expect(release).toHaveBeenCalledTimes(1);
    } finally {
      allocate.mockRestore();
      release.mockRestore();
    }
  });

  it('refuse tensors of another device, while recording', async () => {
    const other = await openDevice({ backend: 'cpu', threads: 1 });
    const layout = new ArenaLayout();
    const tensor = layout.add('foreign', [4], 'float32');
    await layout.allocate(other);
    const r = new Recorder(device());
    expect(() => zero(r, 'clear', tensor)).toThrowError(
      expect.objectContaining({ code: 'ERR_WRONG_DEVICE' }),
    );
    await other.dispose();
  });
});
