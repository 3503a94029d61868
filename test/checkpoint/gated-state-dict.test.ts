// Tests reading PyTorch state dicts of the gated network: names, derived configurations, masks, and refusals.
import { describe, expect, it } from 'vitest';
import { decodeModel } from '../../src/checkpoint/model-file.js';
import { encodeSafetensors, type SafetensorsTensor } from '../../src/checkpoint/safetensors.js';
import { PixelCnnError } from '../../src/errors.js';
import type { PixelCnnOptions } from '../../src/models/config.js';
import { TestRandom } from '../helpers/random.js';

type Dict = Map<string, SafetensorsTensor>;

const f32 = (shape: readonly number[], values: ArrayLike<number>): SafetensorsTensor => {
  const { buffer } = Float32Array.from(values);
  return { dtype: 'F32', shape: [...shape], data: new Uint8Array(buffer) };
};
const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);
const zeros = (...shape: number[]) => f32(shape, new Float32Array(sizeOf(shape)));
const valuesOf = ({ data }: SafetensorsTensor) => new Float32Array(data.slice().buffer);

const grey = {
  ...{ architecture: 'gated' as const, channels: 1, hiddenChannels: 4, layers: 3, levels: 2 },
  ...{ kernelSize: 3, firstKernelSize: 5, headChannels: 3 },
};
const rgb = {
  ...{ architecture: 'gated' as const, channels: 3, hiddenChannels: 5, layers: 2, levels: 4 },
  ...{ kernelSize: 5, firstKernelSize: 3, headChannels: 7 },
};
type Config = typeof grey;

/** The shapes of all parameters, written down from docs/gated.md and not from the source. */
function shapesOf(config: Config): Map<string, number[]> {
  const { channels: c, hiddenChannels: p, headChannels: q, layers, levels } = config;
  const shapes = new Map<string, number[]>();
  const conv = (name: string, shape: number[]) => {
    shapes.set(`${name}.weight`, shape).set(`${name}.bias`, [shape[0]!]);
  };
  for (let l = 0; l < layers; l += 1) {
    const [inputs, k] = l === 0 ? [c, config.firstKernelSize] : [p, config.kernelSize];
    const half = (k + 1) / 2;
    conv(`layers.${l}.vertical`, [2 * p, inputs, half, k]);
    conv(`layers.${l}.horizontal`, [2 * p, inputs, 1, half]);
    shapes.set(`layers.${l}.link.weight`, [2 * p, 2 * p, 1, 1]);
    if (l < layers - 1) conv(`layers.${l}.residual`, [p, p, 1, 1]);
    conv(`layers.${l}.skip`, [p, p, 1, 1]);
  }
  conv('head.0', [q, p, 1, 1]);
  conv('head.1', [c * levels, q, 1, 1]);
  return shapes;
}

/** The mask (1 live, 0 dead) of a weight, by the rules of docs/gated.md. */
function maskOf({ channels, hiddenChannels: p }: Config, name: string, shape: readonly number[]) {
  const [outputs, inputs, rows, columns] = shape as [number, number, number, number];
  const part = name.split('.').at(-2)!;
  const first = name.startsWith('layers.0.') && (part === 'vertical' || part === 'horizontal');
  return Float32Array.from({ length: sizeOf(shape) }, (_, at) => {
    const [s, r] = [at % columns, Math.floor(at / columns) % rows];
    const [i, o] = [Math.floor(at / (columns * rows)) % inputs, Math.floor(at / (columns * rows * inputs))];
    if (part === 'link') return 1;
    if (part === 'vertical') return first && r === rows - 1 ? 0 : 1;
    if (s < columns - 1) return 1;
    const from = Math.floor((i * channels) / inputs);
    const to =
      part === 'horizontal'
        ? Math.floor((Math.floor(o / 2) * channels) / p)
        : Math.floor((o * channels) / outputs);
    return Number(first ? from < to : from <= to);
  });
}

/** A state dict with random values everywhere, under the masks too. */
function dictOf(config: Config, prefix = '', seed = 1): Dict {
  const random = new TestRandom(seed);
  return new Map(
    [...shapesOf(config)].map(([name, shape]) => {
      return [
        prefix + name,
        f32(
          shape,
          Float32Array.from({ length: sizeOf(shape) }, () => random.normal()),
        ),
      ];
    }),
  );
}
const maskBuffers = (config: Config, prefix = '') =>
  [...shapesOf(config)].flatMap(([name, shape]) => {
    if (!name.endsWith('.weight')) return [];
    const buffer = prefix + name.replace('.weight', '.mask');
    return [[buffer, f32(shape, maskOf(config, name, shape))] as const];
  });
/** The state dict with its weights multiplied by their masks. */
function multiplied(config: Config, dict: Dict): Dict {
  return new Map(
    [...dict].map(([name, tensor]) => {
      if (!name.endsWith('.weight')) return [name, tensor];
      const mask = maskOf(config, name, tensor.shape);
      return [
        name,
        f32(
          tensor.shape,
          valuesOf(tensor).map((value, i) => value * mask[i]!),
        ),
      ];
    }),
  );
}

const decode = (dict: Dict, options: PixelCnnOptions = {}) =>
  decodeModel(encodeSafetensors(dict, { format: 'pt' }), options, 'm.safetensors');
function refusal(dict: Dict, options: PixelCnnOptions = {}): PixelCnnError {
  try {
    decode(dict, options);
  } catch (error) {
    if (error instanceof PixelCnnError) return error;
    throw error;
  }
  throw new Error('it was accepted');
}

function expectParameters(
  decoded: ReturnType<typeof decode>['parameters'],
  config: Config,
  dict: Dict,
  prefix = '',
) {
  expect([...decoded.keys()].sort()).toEqual([...shapesOf(config).keys()].sort());
  for (const [name, { shape, data }] of decoded) {
    const values = valuesOf(dict.get(prefix + name)!);
    const mask = name.endsWith('.weight') ? maskOf(config, name, shape) : values.map(() => 1);
    expect(
      data.map((value) => value + 0),
      name,
    ).toEqual(values.map((value, i) => value * mask[i]! + 0));
  }
}

describe('what is read', () => {
  it.each<[string, Config, string]>([
    ['no prefix', grey, ''],
    ['DataParallel', rgb, 'module.'],
    ['torch.compile and Lightning', grey, 'model._orig_mod.'],
    ['an attribute that is called layers', rgb, 'layers.'],
    ['numbers in the prefix', grey, 'nets.3.'],
  ])('%s', (_, config, prefix) => {
    const dict = new Map([...dictOf(config, prefix)].sort(([a], [b]) => (a < b ? -1 : 1)));
    const { config: found, parameters, notes, declarations, weights, average } = decode(dict);
    expect(found).toEqual(config);
    expectParameters(parameters, config, dict, prefix);
    expect(declarations.map(({ name }) => name).sort()).toEqual([...dict.keys()].sort());
    expect([weights, average]).toEqual(['raw', undefined]);
    const shown = prefix === '' ? 'no prefix' : `prefix '${prefix}'`;
    expect(notes[0]).toBe(
      `a PyTorch state dict of a gated network: ${config.layers} layers, '${prefix}layers.0' to '${prefix}layers.${config.layers - 1}' (${shown})`,
    );
    expect(notes[1]).toMatch(
      /^assumed: gates are interleaved, .*docs\/gated\.md.*level \/ \(levels - 1\), from 0 to 1/,
    );
    expect(notes[1]!.includes('c * levels + v')).toBe(config.channels > 1);
    expect(notes[2]).toMatch(/^no mask buffers; assumed/);
    expect(notes).toHaveLength(3);
  });

  it('eleven layers, whose names are not in the order of numbers', () => {
    const config = { ...grey, layers: 11 };
    const dict = new Map([...dictOf(config)].sort(([a], [b]) => (a < b ? -1 : 1)));
    expect(decode(dict).config).toEqual(config);
    expectParameters(decode(dict).parameters, config, dict);
  });

  it('filters of one size, and as many head channels as hidden ones', () => {
    const config = { ...rgb, kernelSize: 1, headChannels: 5 };
    expect(decode(dictOf(config)).config).toEqual(config);
  });

  it('without biases they are 0; with some of them the missing one is named', () => {
    const dict = new Map([...dictOf(grey)].filter(([name]) => !name.endsWith('.bias')));
    const { parameters, notes } = decode(dict);
    expect([...parameters.get('layers.1.vertical.bias')!.data]).toEqual(new Array(8).fill(0));
    expect(notes[0]).toMatch(/without biases/);
    dict.set('head.0.bias', zeros(3));
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_MISSING_TENSOR',
      message: "m.safetensors: there is no tensor 'layers.0.vertical.bias'",
    });
  });

  it('other types become float32, which is told', () => {
    const dict = dictOf(grey);
    const { shape, data } = dict.get('head.1.weight')!;
    const upper = Uint16Array.from(new Uint32Array(data.slice().buffer), (bits) => bits >>> 16);
    dict.set('head.1.weight', { dtype: 'BF16', shape, data: new Uint8Array(upper.buffer) });
    expect(decode(dict).notes[0]).toMatch(/read from BF16 as float32$/);
    dict.set('head.1.weight', { dtype: 'I8', shape, data: new Uint8Array(sizeOf(shape)) });
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_DTYPE',
      message: expect.stringMatching(/'head\.1\.weight'/),
    });
  });

  it('a moving average under ema. is one, and one alone is labelled', () => {
    const [dict, averaged] = [dictOf(grey, 'net.'), dictOf(grey, 'net.', 2)];
    const both: Dict = new Map([
      ...dict,
      ...[...averaged].map(([name, one]) => [`ema.${name}`, one] as const),
    ]);
    const { parameters, average, weights, notes } = decode(both);
    expectParameters(parameters, grey, dict, 'net.');
    expectParameters(average!, grey, averaged, 'net.');
    expect(weights).toBe('raw');
    expect(notes.at(-1)).toMatch(/moving average of the weights under 'ema\.'/);
    both.delete('ema.net.layers.1.link.weight');
    expect(refusal(both)).toMatchObject({
      code: 'CKPT_MISSING_TENSOR',
      message: expect.stringMatching(/'ema\.net\.layers\.1\.link\.weight'/),
    });
    const counted: Dict = new Map([
      ...dictOf(grey, 'module.'),
      ['n_averaged', { dtype: 'I64', shape: [], data: new Uint8Array(8) }],
    ]);
    expect(decode(counted).weights).toBe('ema');
    expect(decode(dictOf(grey, 'ema_model.')).weights).toBe('ema');
  });

  it('options that contradict it are refused with both values', () => {
    expect(decode(dictOf(grey), grey).config).toEqual(grey);
    for (const [name, value] of Object.entries({ ...rgb, architecture: 'plain' as const })) {
      expect(refusal(dictOf(grey), { [name]: value })).toMatchObject({
        code: 'CKPT_CONFIG',
        message: `m.safetensors: ${name} is ${grey[name as keyof Config]} by its shapes, the options say ${value}`,
      });
    }
  });
});

describe('masks', () => {
  it.each([grey, rgb])('as buffers are checked: %o', (config) => {
    const dict: Dict = new Map([...dictOf(config, 'module.'), ...maskBuffers(config, 'module.')]);
    const { parameters, notes } = decode(dict);
    expectParameters(parameters, config, dict, 'module.');
    expect(notes[2]).toMatch(/^mask buffers of \d+ layers checked/);
  });

  it.each([grey, rgb])('in the weights are recognised: %o', (config) => {
    const dict = multiplied(config, dictOf(config));
    expectParameters(decode(dict).parameters, config, dict);
    expect(decode(dict).notes[2]).toMatch(/^no mask buffers; the masks are in the weights/);
  });

  it('that are stricter are multiplied into the weights', () => {
    const dict = dictOf(grey).set('layers.1.vertical.mask', f32([1, 1, 2, 3], [1, 1, 1, 1, 1, 0]));
    for (const [name, mask] of maskBuffers(grey)) if (!dict.has(name)) dict.set(name, mask);
    const { parameters, notes } = decode(dict);
    expect(parameters.get('layers.1.vertical.weight')!.data.filter((_, i) => i % 6 === 5)).toEqual(
      new Float32Array(8 * 4),
    );
    expect(notes[3]).toMatch(/stricter mask buffers.*32 of layers\.1\.vertical\.weight/);
  });

  it.each<[string, Config, string, (mask: Float32Array) => void, RegExp]>([
    [
      'own row of the first vertical window',
      grey,
      'layers.0.vertical',
      (mask) => mask.fill(1),
      /'layers\.0\.vertical\.mask' allows row 2, column 0 .*mask A forbids/,
    ],
    [
      'own pixel in the first horizontal window',
      grey,
      'layers.0.horizontal',
      (mask) => mask.fill(1),
      /'layers\.0\.horizontal\.mask' allows row 0, column 2 .*mask A forbids/,
    ],
    [
      'the half of a gate that belongs to a lower group',
      rgb,
      // p = 5 in 3 groups: pairs (0, 1) (2, 3) are R, (4, 5) (6, 7) G, (8, 9) B. Output 3 may not see G.
      'layers.1.horizontal',
      (mask) => mask.set([1], ((3 * 5 + 2) * 1 + 0) * 3 + 2),
      /input channel 2 for output channel 3, .*mask B forbids.*outputs 2i and 2i \+ 1 of a gate/,
    ],
    [
      'a residual across groups',
      rgb,
      'layers.0.residual',
      (mask) => mask.fill(1),
      /'layers\.0\.residual\.mask'/,
    ],
    ['a head across groups', rgb, 'head.1', (mask) => mask.fill(1), /'head\.1\.mask'/],
  ])('that allow more are refused: %s', (_, config, layer, change, message) => {
    const buffers = new Map(maskBuffers(config));
    const { shape, ...mask } = buffers.get(`${layer}.mask`)!;
    const values = valuesOf({ shape, ...mask });
    change(values);
    const dict = new Map([...dictOf(config), ...buffers, [`${layer}.mask`, f32(shape, values)] as const]);
    expect(refusal(dict)).toMatchObject({ code: 'CKPT_MASK', message: expect.stringMatching(message) });
  });

  it('multiplied into the weights as another order of groups are refused: halves made by chunk', () => {
    const dict = multiplied(rgb, dictOf(rgb));
    const weight = dict.get('layers.0.horizontal.weight')!;
    const rows = sizeOf(weight.shape) / 10;
    const values = valuesOf(weight);
    const chunked = Float32Array.from(values, (_, at) => {
      const [row, rest] = [Math.floor(at / rows), at % rows];
      return values[(2 * (row % 5) + Math.floor(row / 5)) * rows + rest]!;
    });
    dict.set('layers.0.horizontal.weight', f32(weight.shape, chunked));
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_MASK',
      message: expect.stringMatching(/'layers\.0\.horizontal\.weight' has zeros where masks forbid, but not/),
    });
  });
});

describe('what is refused', () => {
  it.each([...shapesOf(grey).keys()])('a missing tensor is named: %s', (name) => {
    const dict = dictOf(grey);
    dict.delete(name);
    const { code, message } = refusal(dict);
    // Without any tensor of layer 2 it would be a network of two layers, in which layer 1 has no residual.
    expect([code, message.includes(`'${name}'`)]).toEqual(['CKPT_MISSING_TENSOR', true]);
  });

  it('a layer that is missing in the middle or at the end is named', () => {
    const without = (layer: number) =>
      new Map([...dictOf(grey)].filter(([name]) => !name.startsWith(`layers.${layer}.`)));
    expect(refusal(without(0)).message).toMatch(/no tensor 'layers\.0\.vertical\.weight'/);
    expect(refusal(without(1)).message).toMatch(/no tensor 'layers\.1\.vertical\.weight'/);
    expect(refusal(without(2)).message).toMatch(/'layers\.1\.residual\.(weight|bias)' is not part/);
  });

  it.each([...shapesOf(grey)])('another shape is named: %s %o', (name, shape) => {
    for (const [axis, size] of shape.entries()) {
      const changed = shape.with(axis, size + 2);
      const error = refusal(dictOf(grey).set(name, zeros(...changed)));
      // Where the shape decides the configuration, the tensors that contradict it are named instead.
      expect(['CKPT_SHAPE', 'CKPT_MISSING_TENSOR', 'CKPT_CONFIG']).toContain(error.code);
      expect(error.message).toMatch(/'(layers\.\d\.\w+|head\.\d)\.(weight|bias)'/);
    }
    expect(refusal(dictOf(grey).set(name, zeros(...shape, 1))).code).toBe('CKPT_SHAPE');
    expect(refusal(dictOf(grey).set(name, zeros())).code).toBe('CKPT_SHAPE');
  });

  it.each<[string, string, SafetensorsTensor, string, RegExp]>([
    [
      'a residual of the last layer',
      'layers.2.residual.weight',
      zeros(4, 4, 1, 1),
      'CKPT_UNKNOWN_TENSOR',
      /'layers\.2\.residual\.weight' is not part of the model, whose last layer, 2, has no residual/,
    ],
    [
      'a condition',
      'layers.0.condition.weight',
      zeros(10, 8),
      'CKPT_UNKNOWN_TENSOR',
      /found an embedding or a condition .*layers\.0\.condition\.weight/,
    ],
    [
      'a condition by the name of our other models',
      'layers.0.condition_vertical.weight',
      zeros(10, 8),
      'CKPT_UNKNOWN_TENSOR',
      /'layers\.0\.condition_vertical\.weight' is not part of the model, a gated network of 3 layers/,
    ],
    [
      'batch normalisation',
      'layers.0.norm.running_mean',
      zeros(8),
      'CKPT_UNKNOWN_TENSOR',
      /found batch normalisation/,
    ],
    [
      'a bias of the link',
      'layers.0.link.bias',
      zeros(8),
      'CKPT_UNKNOWN_TENSOR',
      /'layers\.0\.link\.bias' is not part/,
    ],
    ['a third head', 'head.2.weight', zeros(2, 2, 1, 1), 'CKPT_UNKNOWN_TENSOR', /'head\.2\.weight'/],
    ['another prefix', 'module.head.1.bias', zeros(2), 'CKPT_UNKNOWN_TENSOR', /'module\.head\.1\.bias'/],
    ['a mask of a bias', 'head.1.bias.mask', zeros(2), 'CKPT_UNKNOWN_TENSOR', /'head\.1\.bias\.mask'/],
    [
      'a second copy',
      'ema_model.head.1.bias',
      zeros(2),
      'CKPT_UNKNOWN_TENSOR',
      /found a second copy of the weights/,
    ],
    [
      'a layer with a very large number',
      'layers.99999999999999999999.skip.bias',
      zeros(4),
      'CKPT_CONFIG',
      /layers/,
    ],
    [
      'a layer too many',
      'layers.128.skip.bias',
      zeros(4),
      'CKPT_CONFIG',
      /layers.*128, got 129.*docs\/gated\.md/,
    ],
    ['a gap in the layers', 'layers.4.skip.bias', zeros(4), 'CKPT_MISSING_TENSOR', /'layers\.2\.residual/],
    [
      'one output',
      'head.1.weight',
      zeros(1, 3, 1, 1),
      'CKPT_SHAPE',
      /'head\.1\.weight' gives one output for each of 1 image channels/,
    ],
    ['too many levels', 'head.1.weight', zeros(257, 3, 1, 1), 'CKPT_CONFIG', /levels/],
    [
      'an odd number of channels before a gate',
      'layers.0.vertical.weight',
      zeros(7, 1, 3, 5),
      'CKPT_SHAPE',
      /gives 7 channels, expected two for each gate/,
    ],
    [
      'an even filter',
      'layers.1.vertical.weight',
      zeros(8, 4, 2, 4),
      'CKPT_CONFIG',
      /kernelSize must be odd/,
    ],
    ['no channels', 'layers.0.vertical.weight', zeros(8, 0, 3, 5), 'CKPT_SHAPE', /0 image channels/],
    [
      'values that are not finite',
      'layers.1.skip.bias',
      f32([4], [0, Number.NaN, 0, 0]),
      'CKPT_NONFINITE',
      /'layers\.1\.skip\.bias'/,
    ],
  ])('%s', (_, name, tensor, code, message) => {
    const error = refusal(dictOf(grey).set(name, tensor));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
  });

  it('a last layer that has only some of its tensors', () => {
    const dict = dictOf(grey);
    for (const name of dict.keys()) if (/layers\.2\.(vertical|link)/.test(name)) dict.delete(name);
    expect(refusal(dict).message).toMatch(/no tensor 'layers\.2\.vertical\.weight'/);
  });

  it('NaN under a mask harms nothing', () => {
    const dict = dictOf(grey);
    const { shape } = dict.get('layers.0.vertical.weight')!;
    const values = valuesOf(dict.get('layers.0.vertical.weight')!).map((value, i) => {
      return i % 15 >= 10 ? Number.NaN : value;
    });
    dict.set('layers.0.vertical.weight', f32(shape, values));
    expect([...decode(dict).parameters.get('layers.0.vertical.weight')!.data].every(Number.isFinite)).toBe(
      true,
    );
  });

  it('gated networks with other names are told which names are read', () => {
    const dict: Dict = new Map([
      ['blocks.0.v_stack.weight', zeros(8, 4, 2, 3)],
      ['blocks.0.h_stack.weight', zeros(8, 4, 1, 2)],
    ]);
    expect(refusal(dict)).toMatchObject({
      code: 'CKPT_UNKNOWN_TENSOR',
      message: expect.stringMatching(/found a Gated PixelCNN/),
      remedy: expect.stringMatching(/docs\/gated\.md.*interleave/),
    });
  });

  it('a plain network whose layers are called vertical alone is not taken for a gated one', () => {
    const dict: Dict = new Map([
      ['layers.0.vertical.weight', zeros(4, 1, 3, 3)],
      ['layers.1.vertical.weight', zeros(2, 4, 1, 1)],
    ]);
    expect(decode(dict).config).toEqual({
      ...{ channels: 1, hiddenChannels: 4, layers: 2, levels: 2, kernelSize: 3 },
    });
  });
});

it('damaged files are read or refused with a code, never anything else', () => {
  const random = new TestRandom(9);
  const names = [...shapesOf(rgb).keys()];
  let refused = 0;
  for (let round = 0; round < 400; round += 1) {
    const dict = dictOf(rgb);
    for (let change = random.int(1, 3); change > 0; change -= 1) {
      const name = names[random.int(0, names.length - 1)]!;
      const shape = dict.get(name)?.shape ?? [1];
      const action = random.int(0, 4);
      if (action === 0) dict.delete(name);
      if (action === 1)
        dict.set(name, zeros(...shape.with(random.int(0, shape.length - 1), random.int(0, 9))));
      if (action === 2) dict.set(name.replace('weight', 'mask'), zeros(...shape.slice(random.int(0, 3))));
      if (action === 3) dict.set(name.replace(/\d/, String(random.int(0, 140))), zeros(...shape));
      if (action === 4) dict.set(name, zeros(...shape.toReversed()));
    }
    try {
      const { config } = decode(dict);
      expect(config).toMatchObject({ architecture: 'gated' });
    } catch (error) {
      refused += 1;
      expect(error).toBeInstanceOf(PixelCnnError);
      expect((error as PixelCnnError).code).toMatch(/^CKPT_/);
      expect((error as PixelCnnError).message).toMatch(/^m\.safetensors/);
    }
  }
  expect(refused).toBeGreaterThan(100);
});
