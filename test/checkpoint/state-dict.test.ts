// Tests reading PyTorch state dicts: names, mask buffers, notes, and refusals of other models.
import { describe, expect, it } from 'vitest';
import { decodeModel, encodeModel } from '../../src/checkpoint/model-file.js';
import { encodeSafetensors, type SafetensorsTensor } from '../../src/checkpoint/safetensors.js';
import { PixelCnnError } from '../../src/errors.js';
import { networkOf } from '../../src/models/architectures.js';
import type { PixelCnnOptions } from '../../src/models/config.js';
import { initialParameters } from '../../src/models/initial-values.js';
import { parseConfig } from '../../src/models/parse-config.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { maskOf } from '../oracle/masked-conv2d.js';

type Dict = Map<string, SafetensorsTensor>;

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const f32 = (shape: readonly number[], values: ArrayLike<number>): SafetensorsTensor => {
  return { dtype: 'F32', shape: [...shape], data: bytesOf(Float32Array.from(values)) };
};
const zeros = (...shape: number[]) => f32(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)));
const valuesOf = ({ data }: SafetensorsTensor) => new Float32Array(data.slice().buffer);

const grey = { channels: 1, hiddenChannels: 4, layers: 3, levels: 2, kernelSize: 3 };
const rgb = { channels: 3, hiddenChannels: 7, layers: 4, levels: 5, kernelSize: 5 };

/** Makes the layers of a configuration with random weights, not masked, as PyTorch stores them. */
function network(options: typeof grey, seed = 1) {
  const random = new TestRandom(seed);
  const { channels, hiddenChannels: h, layers, levels, kernelSize } = options;
  return Array.from({ length: layers }, (_, i) => {
    const [first, last] = [i === 0, i === layers - 1];
    const shape = {
      ...{ n: 1, h: 1, w: 1, c: first ? channels : h, k: last ? channels * levels : h },
      ...{ size: last ? 1 : kernelSize, mask: first ? ('A' as const) : ('B' as const), groups: channels },
    };
    const count = shape.k * shape.c * shape.size ** 2;
    const normal = (length: number) => Float32Array.from({ length }, () => random.normal());
    return { shape, weight: normal(count), bias: normal(shape.k) };
  });
}
type Layer = ReturnType<typeof network>[number];
type Tap = [o: number, c: number, r: number, s: number];

/** Computes a value for every weight (K, C, R, S) of a layer. */
function perTap({ shape: { k, c, size } }: Layer, value: (...tap: Tap) => number): Float32Array {
  return Float32Array.from({ length: k * c * size * size }, (_, i) => {
    const filter = Math.floor(i / size ** 2);
    const tap = i % size ** 2;
    return value(Math.floor(filter / c), filter % c, Math.floor(tap / size), tap % size);
  });
}
const ownMask = (layer: Layer) => perTap(layer, (...tap) => maskOf(layer.shape, ...tap));
const weightShape = ({ shape: { k, c, size } }: Layer) => [k, c, size, size];

const sequential = (i: number) => `net.${2 * i}`;
function dictOf(layers: readonly Layer[], nameOf: (i: number) => string = sequential): Dict {
  return new Map(
    layers.flatMap((layer, i) => [
      [`${nameOf(i)}.weight`, f32(weightShape(layer), layer.weight)] as const,
      [`${nameOf(i)}.bias`, f32([layer.shape.k], layer.bias)] as const,
    ]),
  );
}
/** Makes the same state dict with a buffer `mask` for every layer. */
function withMasks(
  dict: Dict,
  layers: readonly Layer[],
  maskFor: (layer: Layer, i: number) => Float32Array,
): Dict {
  return new Map([
    ...dict,
    ...layers.map(
      (layer, i) => [`${sequential(i)}.mask`, f32(weightShape(layer), maskFor(layer, i))] as const,
    ),
  ]);
}

const decode = (dict: Dict, options: PixelCnnOptions = {}) =>
  decodeModel(encodeSafetensors(dict, { format: 'pt' }), options, 'm.safetensors');
function errorOf(run: () => unknown): PixelCnnError {
  try {
    run();
  } catch (error) {
    if (error instanceof PixelCnnError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}
const refusal = (dict: Dict, options: PixelCnnOptions = {}) => errorOf(() => decode(dict, options));
const expectNotes = (notes: readonly string[], ...patterns: RegExp[]) => {
  for (const pattern of patterns) expect(notes.filter((note) => pattern.test(note))).toHaveLength(1);
};

/** Checks the biases and the weights, which must be masked by the masks of the oracle and by `also`. */
function expectParameters(
  decoded: ReturnType<typeof decode>['parameters'],
  layers: readonly Layer[],
  also: (layer: Layer, i: number) => Float32Array = ownMask,
) {
  for (const [i, layer] of layers.entries()) {
    const [mask, extra] = [ownMask(layer), also(layer, i)];
    const expected = layer.weight.map((value, at) => value * mask[at]! * extra[at]! + 0);
    expect(decoded.get(`${sequential(i)}.weight`)!.data.map((value) => value + 0)).toEqual(expected);
    expect(decoded.get(`${sequential(i)}.bias`)!.data).toEqual(layer.bias);
  }
  expect(decoded.size).toBe(2 * layers.length);
}

describe('names', () => {
  const plain =
    (prefix: string, suffix = '') =>
    (i: number) =>
      `${prefix}${2 * i}${suffix}`;
  it.each<[string, (i: number) => string, string]>([
    ['nn.Sequential called net', plain('net.'), "prefix 'net.'"],
    ['a bare nn.Sequential', plain(''), 'no prefix'],
    ['torch.compile', plain('_orig_mod.net.'), "prefix '_orig_mod.net.'"],
    ['DistributedDataParallel', plain('module.net.'), "prefix 'module.net.'"],
    ['both, and Lightning', plain('model._orig_mod.module.net.'), "prefix 'model._orig_mod.module.net.'"],
    ['another attribute', plain('pixelcnn.layers.'), "prefix 'pixelcnn.layers.'"],
    ['a Sequential in a Sequential', plain('0.'), "prefix '0.'"],
    ['a prefix that ends in a digit', plain('net2.'), "prefix 'net2.'"],
    ['attributes with numbers', (i) => `conv${i + 1}`, "prefix 'conv'"],
    ['a module around each convolution', plain('blocks.', '.conv'), "prefix 'blocks.'"],
    ['a number inside the suffix', plain('blocks.', '.conv2d.0'), "prefix 'blocks.'"],
    ['no modules between', (i) => `net.${i}`, "prefix 'net.'"],
    ['more between, from 1', (i) => `net.${1 + 3 * i}`, "prefix 'net.'"],
    ['uneven numbers', (i) => `net.${[0, 1, 9, 10][i]}`, "prefix 'net.'"],
    ['numbers that share a digit', (i) => `${10 + i}`, 'no prefix'],
    ['numbers that end alike', (i) => `net.${[5, 15, 105, 995][i]}`, "prefix 'net.'"],
  ])('%s', (_, nameOf, prefix) => {
    const layers = network(rgb);
    // Files list tensors in any order, for example "10" before "2".
    const dict = new Map([...dictOf(layers, nameOf)].sort(([a], [b]) => (a < b ? -1 : 1)));
    const { config, parameters, declarations, notes, average, imageSize, training } = decode(dict);
    expect(config).toEqual(rgb);
    expectParameters(parameters, layers);
    expect(declarations.map(({ name }) => name)).toEqual(
      layers.flatMap((__, i) => [`${nameOf(i)}.weight`, `${nameOf(i)}.bias`]),
    );
    expect([average, imageSize, training]).toEqual([undefined, undefined, undefined]);
    expect(notes[0]).toContain(`4 layers, '${nameOf(0)}' to '${nameOf(3)}'`);
    expect(notes[0]).toContain(prefix);
    expectNotes(
      notes,
      /^assumed: ReLU after every layer but the last.*level of|c \* levels \+ v/,
      /no mask buffers; assumed/,
    );
  });

  it('without biases they are 0, with some of them the missing one is named', () => {
    const layers = network(grey);
    const dict = new Map([...dictOf(layers)].filter(([name]) => !name.endsWith('.bias')));
    const { parameters, notes } = decode(dict);
    expect([...parameters.get('net.2.bias')!.data]).toEqual([0, 0, 0, 0]);
    expectNotes(notes, /without biases/);
    dict.set('net.0.bias', zeros(4));
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_MISSING_TENSOR',
      message: expect.stringMatching(/'net\.2\.bias'/),
    });
  });

  it('other types become float32, which is told', () => {
    const layers = network(grey);
    const dict = dictOf(layers);
    const half = (tensor: SafetensorsTensor): SafetensorsTensor => ({
      ...tensor,
      dtype: 'BF16',
      data: bytesOf(Uint16Array.from(new Uint32Array(tensor.data.slice().buffer), (bits) => bits >>> 16)),
    });
    for (const [name, tensor] of dict) dict.set(name, half(tensor));
    const { parameters, notes } = decode(dict);
    expectNotes(notes, /read from BF16 as float32/);
    expect(parameters.get('net.0.bias')!.data[0]).toBeCloseTo(layers[0]!.bias[0]!, 1);
    dict.set('net.2.weight', { dtype: 'I8', shape: [4, 4, 3, 3], data: new Uint8Array(144) });
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_DTYPE',
      message: expect.stringMatching(/'net\.2\.weight'/),
    });
  });

  it('values that are not finite are named as the file names them', () => {
    const dict = dictOf(network(grey), (i) => `module.${i}`);
    dict.set('module.1.bias', f32([4], [0, Number.NaN, 0, 0]));
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_NONFINITE',
      message: expect.stringMatching(/'module\.1\.bias'/),
    });
  });

  it('a moving average under ema. is one, with the buffers of the weights', () => {
    const [layers, averaged] = [network(grey, 1), network(grey, 2)];
    const dict = withMasks(dictOf(layers), layers, ownMask);
    for (const [name, tensor] of dictOf(averaged)) dict.set(`ema.${name}`, tensor);
    dict.set('n_averaged', { dtype: 'I64', shape: [], data: new Uint8Array(8) });
    const { parameters, average, weights, notes } = decode(dict);
    expectParameters(parameters, layers);
    expectParameters(average!, averaged);
    expect(weights).toBe('raw');
    expectNotes(notes, /moving average of the weights under 'ema\.'/);
  });

  it.each([
    ['one bias', /^ema\.net\.2\.bias$/, 'ema.net.2.bias'],
    ['all biases', /^ema\..*bias$/, 'ema.net.0.bias'],
    ['one weight', /^ema\.net\.4\.weight$/, 'ema.net.4.weight'],
    ['all weights', /^ema\..*weight$/, 'ema.net.0.weight'],
    ['a layer', /^ema\.net\.2\./, 'ema.net.2.bias'],
  ])('a moving average without %s is refused by its name', (_, missing, name) => {
    const dict = dictOf(network(grey));
    for (const [key, tensor] of dictOf(network(grey, 2))) {
      if (!missing.test(`ema.${key}`)) dict.set(`ema.${key}`, tensor);
    }
    const { code, message } = refusal(dict);
    expect([code, message]).toEqual([
      'CKPT_MISSING_TENSOR',
      `m.safetensors: there is no tensor '${name}', and others have a moving average under 'ema.'`,
    ]);
  });

  const count: SafetensorsTensor = { dtype: 'I64', shape: [], data: new Uint8Array(8) };
  it.each<[string, string, string | undefined, RegExp]>([
    ['AveragedModel', 'module.net.', 'n_averaged', /moving average, by 'n_averaged' beside them/],
    ['AveragedModel, its prefix stripped', 'net.', 'n_averaged', /by 'n_averaged'/],
    ['an AveragedModel that is an attribute', 'model.module.', 'model.n_averaged', /by 'model\.n_averaged'/],
    ['compiled', '_orig_mod.module.net.', '_orig_mod.n_averaged', /by '_orig_mod\.n_averaged'/],
    ...['ema.net.', 'ema_model.net.', 'model_ema.', 'averaged.', 'module.ema.module.', 'swa_model.'].map(
      (prefix): [string, string, undefined, RegExp] => [
        `the prefix ${prefix}`,
        prefix,
        undefined,
        new RegExp(`moving average, by the name '${prefix}0\\.weight'`),
      ],
    ),
  ])('weights that are an average alone are labelled so: %s', (_, prefix, counter, note) => {
    const layers = network(grey);
    const dict = dictOf(layers, (i) => `${prefix}${2 * i}`);
    if (counter !== undefined) dict.set(counter, count);
    const { weights, average, parameters, notes } = decode(dict);
    expect([weights, average]).toEqual(['ema', undefined]);
    expectParameters(parameters, layers);
    expectNotes(notes, note);
  });

  it('a counter of an average that is not in the file makes no average of the weights', () => {
    const dict = dictOf(network(grey));
    dict.set('swa.n_averaged', count);
    const { weights, notes } = decode(dict);
    expect(weights).toBe('raw');
    expectNotes(notes, /'swa\.n_averaged' counts an average that is not in the file/);
  });

  it('names in which such a word is only a part stay raw', () => {
    for (const prefix of ['schema.', 'cinema_net.', 'averages.', 'average_pool.', 'module.net.']) {
      const { weights, notes } = decode(dictOf(network(grey), (i) => `${prefix}${2 * i}`));
      expect(weights).toBe('raw');
      expect(notes.join()).not.toMatch(/moving average/);
    }
  });

  it('an average of an average is refused', () => {
    const own = (prefix: string) => (i: number) => `${prefix}${2 * i}`;
    const twice = (prefix: string): Dict =>
      new Map([
        ...dictOf(network(grey), own(prefix)),
        ...dictOf(network(grey, 2), own(`ema.${prefix}`)),
        ['n_averaged', count] as const,
      ]);
    expect(refusal(twice('module.net.'))).toMatchObject({
      code: 'CKPT_CONFIG',
      message: expect.stringMatching(/'module\.net\.0\.weight' is a moving average already/),
    });
    expect(refusal(twice('ema_model.')).code).toBe('CKPT_CONFIG');
  });
});

describe('mask buffers', () => {
  const layers = network(grey);
  const masked = (maskFor: (layer: Layer, i: number) => Float32Array) =>
    withMasks(dictOf(layers), layers, maskFor);

  it('that are ours are checked and told', () => {
    const { parameters, notes } = decode(masked(ownMask));
    expectParameters(parameters, layers);
    expectNotes(notes, /mask buffers of 3 layers checked/);
    expect(notes.join()).not.toMatch(/stricter/);
  });

  it('of RGB are ours by channel groups', () => {
    const three = network(rgb);
    const { parameters, config } = decode(withMasks(dictOf(three), three, ownMask));
    expect(config).toEqual(rgb);
    expectParameters(parameters, three);
  });

  it.each<[string, (mask: Float32Array) => Pick<SafetensorsTensor, 'dtype' | 'data'>]>([
    ['BOOL', (mask) => ({ dtype: 'BOOL', data: Uint8Array.from(mask) })],
    ['U8', (mask) => ({ dtype: 'U8', data: Uint8Array.from(mask) })],
    ['I16', (mask) => ({ dtype: 'I16', data: bytesOf(Int16Array.from(mask)) })],
    ['I64', (mask) => ({ dtype: 'I64', data: bytesOf(BigInt64Array.from([...mask].map(BigInt))) })],
    ['F64', (mask) => ({ dtype: 'F64', data: bytesOf(Float64Array.from(mask)) })],
    ['F16', (mask) => ({ dtype: 'F16', data: bytesOf(Uint16Array.from(mask, (v) => v * 0x3c00)) })],
  ])('of type %s', (_, encode) => {
    const dict = masked(ownMask);
    for (const [name, tensor] of dict)
      if (name.endsWith('.mask')) dict.set(name, { shape: tensor.shape, ...encode(valuesOf(tensor)) });
    expectParameters(decode(dict).parameters, layers);
  });

  it.each<[string, number[]]>([
    ['(1, 1, k, k)', [1, 1, 3, 3]],
    ['(k, k)', [3, 3]],
    ['(1, k, k)', [1, 3, 3]],
    ['(out, 1, k, k)', [4, 1, 3, 3]],
    ['(in, k, k)', [4, 3, 3]],
  ])('of shape %s', (_, shape) => {
    const dict = dictOf(layers);
    const spatial = [1, 1, 1, 1, 1, 0, 0, 0, 0];
    const count = shape.reduce((a, b) => a * b, 1);
    dict.set(
      'net.2.mask',
      f32(
        shape,
        Array.from({ length: count }, (__, i) => spatial[i % 9]!),
      ),
    );
    dict.set('net.0.mask', f32([1, 1, 3, 3], [1, 1, 1, 1, 0, 0, 0, 0, 0]));
    const { parameters, notes } = decode(dict);
    expectParameters(parameters, layers);
    expectNotes(notes, /mask buffers of 2 layers/);
  });

  it('that are stricter are multiplied into the weights, as in PyTorch, and told', () => {
    const maskA = (layer: Layer) =>
      perTap({ ...layer, shape: { ...layer.shape, mask: 'A' } }, (...tap) => {
        return maskOf({ ...layer.shape, mask: 'A' }, ...tap);
      });
    const everywhereA = (layer: Layer, i: number) => (i === 1 ? maskA(layer) : ownMask(layer));
    const { parameters, notes } = decode(masked(everywhereA));
    expectParameters(parameters, layers, everywhereA);
    expectNotes(notes, /stricter.*\(16 of net\.2\.weight\)/);
    const none = (layer: Layer) => perTap(layer, () => 0);
    const nothing = decode(masked(none));
    expectParameters(nothing.parameters, layers, none);
    expectNotes(nothing.notes, /stricter.*16 of net\.0\.weight, 80 of net\.2\.weight, 8 of net\.4\.weight/);
  });

  it.each<[string, (layer: Layer, i: number) => Float32Array, RegExp]>([
    [
      'mask B in the first layer',
      (layer, i) =>
        i === 0 ? perTap(layer, (...t) => maskOf({ ...layer.shape, mask: 'B' }, ...t)) : ownMask(layer),
      /'net\.0\.mask' allows row 1, column 1 of input channel 0 for output channel 0, which mask A forbids/,
    ],
    ['ones', (layer) => perTap(layer, () => 1), /'net\.0\.mask' allows row 1, column 1/],
    [
      'one tap too many',
      (layer, i) =>
        perTap(layer, (o, c, r, s) =>
          i === 1 && o === 3 && c === 2 && r === 2 && s === 0 ? 1 : maskOf(layer.shape, o, c, r, s),
        ),
      /'net\.2\.mask' allows row 2, column 0 of input channel 2 for output channel 3, which mask B forbids/,
    ],
  ])('that allow more are refused: %s', (_, maskFor, message) => {
    const dict = masked(maskFor);
    expect(refusal(dict)).toMatchObject({ code: 'CKPT_MASK', message: expect.stringMatching(message) });
    // The mask decides, even if the weights that it allows happen to be 0.
    for (const [name, tensor] of dict) if (name.endsWith('.weight')) dict.set(name, zeros(...tensor.shape));
    expect(refusal(dict).code).toBe('CKPT_MASK');
  });

  it.each<[string, SafetensorsTensor, RegExp]>([
    [
      'another size',
      zeros(1, 1, 5, 5),
      /'net\.2\.mask' of shape \[1, 1, 5, 5\] does not fit the weight \[4, 4, 3, 3\]/,
    ],
    ['another rank', zeros(1, 4, 4, 3, 3), /does not fit/],
    ['values between', f32([3, 3], [1, 1, 1, 1, 0.5, 0, 0, 0, 0]), /element 4 is 0\.5, not 0 or 1/],
    ['NaN', f32([3, 3], [1, 1, 1, 1, Number.NaN, 0, 0, 0, 0]), /element 4 is NaN/],
    [
      'integers that look like 1',
      { dtype: 'I16', shape: [1], data: Uint8Array.from([1, 1]) },
      /element 0 is 257/,
    ],
    ['complex numbers', { dtype: 'C64', shape: [1], data: new Uint8Array(8) }, /is C64/],
  ])('that are no masks are refused: %s', (_, mask, message) => {
    expect(refusal(dictOf(layers).set('net.2.mask', mask))).toMatchObject({
      code: 'CKPT_MASK',
      message: expect.stringMatching(message),
    });
  });

  it('of a module around the convolution count as well', () => {
    const dict = dictOf(layers, (i) => `blocks.${i}.conv`);
    for (const [i, layer] of layers.entries())
      dict.set(`blocks.${i}.mask`, f32(weightShape(layer), ownMask(layer)));
    const { parameters, notes } = decode(dict);
    expectParameters(parameters, layers);
    expectNotes(notes, /mask buffers of 3 layers checked/);
    dict.set('blocks.1.mask', f32([1], [1]));
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_MASK',
      message: expect.stringContaining("'blocks.1.mask' allows row 1, column 2"),
    });
  });

  it('missing in one layer make it a plain convolution, which may not use what ours forbids', () => {
    const dict = masked(ownMask);
    dict.delete('net.4.mask'); // the layer is 1x1, where mask B of one channel forbids nothing
    expectParameters(decode(dict).parameters, layers);
    dict.delete('net.2.mask');
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_MASK',
      message: expect.stringMatching(
        /'net\.2\.weight' has no mask buffer where other layers have one, and uses row 1, column 2/,
      ),
    });
  });
});

describe('masks of RGB that are not ours', () => {
  const layers = network(rgb);
  const centre = 2;
  /** A mask that depends only on positions, so that the channels of a pixel are independent of each other. */
  const spatial = (layer: Layer) =>
    perTap(layer, (_, __, r, s) => maskOf({ ...layer.shape, c: 1, k: 1, groups: 1 }, 0, 0, r, s));
  /** A mask whose channel groups alternate (o mod 3), as in many implementations. */
  const inTurn = (layer: Layer) =>
    perTap(layer, (o, c, r, s) => {
      if (r !== (layer.shape.size - 1) / 2 || s !== r) return maskOf(layer.shape, o, c, r, s);
      return layer.shape.mask === 'A' ? Number(c % 3 < o % 3) : Number(c % 3 <= o % 3);
    });

  it.each([
    ['positions alone', spatial],
    ['groups in turn', inTurn],
  ])('as buffers are refused with the tap: %s', (_, maskFor) => {
    const { code, message } = refusal(withMasks(dictOf(layers), layers, maskFor));
    expect(code).toBe('CKPT_MASK');
    expect(message).toMatch(
      /'net\.\d\.mask' allows row \d, column \d of input channel \d for output channel \d/,
    );
    expect(message).toMatch(
      /with 3 image channels, channel i of n is in group floor\(i \* 3 \/ n\), and a group sees (itself and )?lower groups$/,
    );
  });

  it.each([
    ['positions alone', spatial],
    ['groups in turn', inTurn],
  ])('in the weights are refused with the tap: %s', (_, maskFor) => {
    const multiplied = layers.map((layer) => {
      const mask = maskFor(layer);
      return { ...layer, weight: layer.weight.map((value, at) => value * mask[at]!) };
    });
    expect(refusal(dictOf(multiplied))).toMatchObject({
      code: 'CKPT_MASK',
      message: expect.stringMatching(
        /'net\.\d\.weight' has zeros where masks forbid, but not at row \d, column \d/,
      ),
    });
  });

  it('ours in the weights are recognised', () => {
    const multiplied = layers.map((layer) => {
      const mask = ownMask(layer);
      return { ...layer, weight: layer.weight.map((value, at) => value * mask[at]!) };
    });
    const { parameters, notes } = decode(dictOf(multiplied));
    expectParameters(parameters, layers);
    expectNotes(notes, /no mask buffers; the masks are in the weights/);
  });

  it('a first layer of grey images that sees its own pixel is refused', () => {
    const leaking = network(grey).map((layer) => {
      const mask = perTap(layer, (_, __, r, s) =>
        Number(r < 1 || (r === 1 && s <= 1) || layer.shape.size === 1),
      );
      return { ...layer, weight: layer.weight.map((value, at) => value * mask[at]!) };
    });
    expect(refusal(dictOf(leaking))).toMatchObject({
      code: 'CKPT_MASK',
      message: expect.stringMatching(/'net\.0\.weight'.*mask A forbids/),
    });
    expect(centre).toBe((rgb.kernelSize - 1) / 2);
  });
});

describe('other contents are named', () => {
  const base = () => dictOf(network(grey));
  it.each<[string, string, SafetensorsTensor]>([
    ['batch normalisation', 'net.1.running_mean', zeros(4)],
    [
      'batch normalisation',
      'net.1.num_batches_tracked',
      { dtype: 'I64', shape: [], data: new Uint8Array(8) },
    ],
    ['a layer norm, a group norm or a PReLU', 'net.1.weight', zeros(4)],
    ['weight normalisation', 'net.0.weight_g', zeros(4, 1, 1, 1)],
    ['weight normalisation', 'net.0.parametrizations.weight.original0', zeros(4, 1, 1, 1)],
    ['spectral normalisation', 'net.0.weight_u', zeros(4)],
    ['spectral normalisation', 'net.0.parametrizations.weight.0._u', zeros(4)],
    ['pruning', 'net.0.weight_mask', zeros(4, 1, 3, 3)],
    ['a parametrized weight', 'net.0.parametrizations.weight.original', zeros(4, 1, 3, 3)],
    ['the state of an optimizer or a scheduler', 'optimizer.state.0.exp_avg', zeros(4)],
    ['the state of an optimizer or a scheduler', 'optimizer_states.0.step', zeros(1)],
    ['LoRA adapters', 'net.0.lora_A.default.weight', zeros(2, 4)],
    ['a linear layer', 'head.weight', zeros(10, 4)],
    ['a 1d convolution', 'mix.weight', zeros(4, 4, 1)],
    ['a 3d convolution', 'mix.weight', zeros(4, 4, 1, 1, 1)],
    ['attention', 'net.1.attn.qkv.weight', zeros(12, 4)],
    ['a recurrent layer (LSTM or GRU)', 'lstm.weight_ih_l0', zeros(16, 4)],
    [
      'an embedding or a condition (a network given more than the image)',
      'class_embedding.weight',
      zeros(10, 4),
    ],
    ['residual blocks', 'res_block.alpha', zeros(1)],
    ['a second copy of the weights (a moving average)', 'model_ema.decay', zeros(1)],
    ['quantised weights', 'net.0.scale', zeros(1)],
    ['a transposed convolution', 'deconv.kernel', zeros(4, 4, 3, 3)],
    [
      'the state of a training run of pixelcnn, whose metadata are gone',
      'training.moment1.net.0.bias',
      zeros(4),
    ],
  ])('found %s: %s', (what, name, tensor) => {
    const error = refusal(base().set(name, tensor));
    expect(error.code).toBe('CKPT_UNKNOWN_TENSOR');
    expect(error.message).toContain(`m.safetensors: found ${what}: ${name};`);
    expect(error.message).toContain('masked convolutions with ReLU between them');
  });

  it('a Gated PixelCNN, by the names of several implementations', () => {
    for (const name of [
      'conv_layers.0.conv_vert.conv.weight',
      'layers.0.vertical.weight',
      'blocks.0.v_stack.weight',
      'net.0.vstack.0.weight',
      'layers.3.v_to_h.weight',
      'layers.1.gate.weight',
    ]) {
      const dict: Dict = new Map([
        [name, zeros(8, 4, 3, 3)],
        ['conv_out.weight', zeros(256, 4, 1, 1)],
        ['horizontal_bias', zeros(4)],
      ]);
      expect(refusal(dict).message).toContain('found a Gated PixelCNN');
    }
  });

  it('a PixelCNN++, a residual network, a plain network with two copies', () => {
    const dictWith = (...names: string[]): Dict => new Map(names.map((name) => [name, zeros(4, 4, 3, 3)]));
    expect(refusal(dictWith('u_init.conv.weight', 'ul_init.0.conv.weight')).message).toContain(
      'a PixelCNN++',
    );
    const residual = refusal(dictWith('first.weight', 'res1.0.weight', 'res1.1.weight'));
    expect(residual.message).toContain('residual');
    const two = new Map([
      ...dictOf(network(grey)),
      ...dictOf(network(grey), (i) => `ema_model.net.${2 * i}`),
    ]);
    expect(refusal(two).message).toContain('a second copy of the weights');
  });

  it('what nobody knows is refused by its name, and so is a file without convolutions', () => {
    expect(refusal(base().set('net.7.strange', zeros(2)))).toMatchObject({
      code: 'CKPT_UNKNOWN_TENSOR',
      message:
        "m.safetensors: tensor 'net.7.strange' is not part of the model, whose layers are 'net.0' to 'net.4'",
    });
    expect(refusal(new Map([['x', zeros(2)]]))).toMatchObject({
      code: 'CKPT_MISSING_TENSOR',
      message: expect.stringMatching(/found 0 of rank 4$/),
    });
    const names = new Map([
      ['first.weight', zeros(4, 1, 3, 3)],
      ['second.weight', zeros(2, 4, 1, 1)],
    ]);
    expect(refusal(names)).toMatchObject({
      code: 'CKPT_MISSING_TENSOR',
      message: expect.stringMatching(/found 2 of rank 4: 'first\.weight', 'second\.weight'/),
    });
  });
});

describe('shapes of another network', () => {
  const base = () => dictOf(network(grey));
  it.each<[string, string, SafetensorsTensor, RegExp]>([
    [
      'a chain that breaks',
      'net.2.weight',
      zeros(4, 2, 3, 3),
      /'net\.2\.weight' .* takes 2 channels, but 4 come in/,
    ],
    ['other filters', 'net.2.weight', zeros(4, 4, 5, 5), /expected a filter of 3x3/],
    ['filters that are not square', 'net.2.weight', zeros(4, 4, 3, 1), /expected a filter of 3x3/],
    ['a last layer of 3x3', 'net.4.weight', zeros(2, 4, 3, 3), /expected a filter of 1x1/],
    ['hidden layers that differ', 'net.2.weight', zeros(6, 4, 3, 3), /gives 6 channels/],
    ['a bias of another length', 'net.2.bias', zeros(3), /'net\.2\.bias' must be \[4\], got \[3\]/],
    ['one output', 'net.4.weight', zeros(1, 4, 1, 1), /one output for each of 1 image channels \(a sigmoid/],
  ])('%s', (_, name, tensor, message) => {
    const dict = base().set(name, tensor);
    if (name === 'net.4.weight') dict.set('net.4.bias', zeros(tensor.shape[0]!));
    expect(refusal(dict)).toMatchObject({ code: 'CKPT_SHAPE', message: expect.stringMatching(message) });
  });

  it('outputs that are no levels of three channels, and even filters', () => {
    const three = dictOf(network(rgb))
      .set('net.6.weight', zeros(16, 7, 1, 1))
      .set('net.6.bias', zeros(16));
    expect(refusal(three)).toMatchObject({
      code: 'CKPT_SHAPE',
      message: expect.stringMatching(/16 outputs.*each of 3 image channels/),
    });
    const even = dictOf(network({ ...grey, kernelSize: 4 }));
    expect(refusal(even)).toMatchObject({
      code: 'CKPT_CONFIG',
      message: expect.stringMatching(/kernelSize must be odd, got 4/),
    });
  });
});

describe('options that contradict the file', () => {
  const device = testDevice({ threads: 1 });
  const wrong: [keyof typeof grey, number][] = [
    ['channels', 3],
    ['hiddenChannels', 64],
    ['layers', 7],
    ['levels', 256],
    ['kernelSize', 7],
  ];
  const own = async () => {
    const config = parseConfig('test', grey);
    return encodeModel({
      config,
      imageSize: undefined,
      weights: 'raw',
      parameters: await initialParameters(networkOf(config).parameters, 1),
    });
  };
  const foreign = () => encodeSafetensors(dictOf(network(grey)));

  it.each(wrong)('%s: both values are named', async (name, value) => {
    for (const [bytes, source] of [
      [await own(), 'metadata'],
      [foreign(), 'shapes'],
    ] as const) {
      await expect(PixelCNN.load(device(), bytes, { [name]: value })).rejects.toMatchObject({
        code: 'CKPT_CONFIG',
        message: `model file: ${name} is ${grey[name]} by its ${source}, the options say ${value}`,
        remedy: expect.stringContaining(name),
      });
    }
  });

  it('options that agree are fine, all or some, and undefined says nothing', async () => {
    for (const bytes of [await own(), foreign()]) {
      for (const options of [{}, grey, { levels: 2 }, { levels: undefined, layers: 3 }]) {
        const model = await PixelCNN.load(device(), bytes, options as PixelCnnOptions);
        expect(model.config).toEqual(grey);
        await model.dispose();
      }
    }
  });

  it('options that are wrong by themselves are wrong arguments', async () => {
    const load = (options: object) => PixelCNN.load(device(), foreign(), options);
    await expect(load({ level: 2 })).rejects.toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(/'levels'/),
    });
    await expect(load({ levels: 1 })).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    await expect(load({ levels: '2' })).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_TYPE' });
  });

  it('notes are those of the file that was loaded, and none for our own', async () => {
    const model = await PixelCNN.load(device(), foreign());
    expect(model.notes[0]).toMatch(/^a PyTorch state dict: 3 layers/);
    expect((await PixelCNN.load(device(), await own())).notes).toEqual([]);
    expect((await PixelCNN.create(device(), grey)).notes).toEqual([]);
  });
});
