// Bad values by kind of argument (reliability.md 2.5), and every argument of the public API with its kind.
import * as api from '../../src/index.js';
import { TestRandom } from '../helpers/random.js';

const detachedBytes = () => {
  const bytes = new Uint8Array(16);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};
const throwing = {
  valueOf() {
    throw new Error('valueOf was called');
  },
};
const circular: { self?: unknown } = {};
circular.self = circular;

const notNumbers = [
  '3',
  '',
  null,
  true,
  3n,
  [],
  [3],
  {},
  Symbol('s'),
  () => 3,
  new Proxy({}, {}),
  throwing,
  new Date(3),
];
const notObjects = [null, true, 3, 'x', 3n, Symbol('s'), () => ({})];
const numbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, -1, 2 ** 53, 1e300];

export const badValues = {
  /** Integers of at least 1. */
  integer: [...notNumbers, ...numbers, 1.5, 0],
  /** Integers of at least 0. */
  count: [...notNumbers, ...numbers, 1.5],
  number: [...notNumbers, ...numbers],
  seed: [...notNumbers.filter((value) => typeof value !== 'bigint'), ...numbers, 1.5, -1n, 2n ** 64n],
  choice: ['', 'x', 'constructor', '__proto__', null, 3, true, [], {}, Symbol('s')],
  signal: [
    null,
    true,
    3,
    'x',
    {},
    [],
    { aborted: false },
    new AbortController(),
    Object.create(AbortSignal.prototype).x ?? 0,
  ],
  floats: [
    null,
    3,
    'x',
    [],
    [1, 2],
    {},
    new Float64Array(16),
    new ArrayBuffer(64),
    new DataView(new ArrayBuffer(64)),
    new Float32Array(0),
    new Float32Array(new SharedArrayBuffer(4)),
    new Float32Array(3),
  ],
  bytes: [
    null,
    3,
    'x',
    [],
    [1, 2],
    {},
    new Int8Array(16),
    new Uint8ClampedArray(16),
    new ArrayBuffer(16),
    new Uint8Array(0),
    new Uint8Array(new SharedArrayBuffer(16)),
    detachedBytes(),
    new Uint8Array(3),
  ],
  shape: [
    null,
    3,
    'x',
    {},
    [],
    [1, 2, 3],
    [1, 2, 3, 4, 5],
    [1, 2, 2, -1],
    [0, 2, 2, 1],
    [1, 2, 2, 1.5],
    [1, '2', 2, 1],
    [1, 2, 2, Number.NaN],
    [2 ** 20, 2 ** 20, 2 ** 20, 2 ** 20],
    [1, 2, 2, 2],
  ],
  object: [...notObjects, [], circular, { unknownOption: 1 }, Object.freeze({ unknownOption: 1 })],
  device: [...notObjects, {}, [], { info: {} }, Object.create(api.PixelCNN.prototype), new Proxy({}, {})],
  images: [
    ...notObjects,
    {},
    [],
    circular,
    ...(
      [
        { data: [1] },
        { data: new Uint8Array(15) },
        { data: detachedBytes() },
        { data: new Uint8Array(new SharedArrayBuffer(16)) },
        { data: new Int8Array(16) },
        { count: 0 },
        { count: 1.5 },
        { height: -1 },
        { width: '4' },
        { channels: 0 },
        { channels: 2, data: new Uint8Array(32) },
        { height: 2 ** 30, width: 2 ** 30 },
        { count: Number.NaN },
        { labels: 3 },
      ] as object[]
    ).map((change) => {
      return { data: new Uint8Array(16), count: 1, height: 4, width: 4, channels: 1, ...change };
    }),
  ],
  path: [null, 3, true, {}, [], Symbol('s'), '', 'a\0b', '/', '/no/such/folder/file', `/${'x'.repeat(5000)}`],
} as const;
export type Kind = keyof typeof badValues;

/** An argument list with one place to fill: options by key, or an argument by position. */
export interface Call {
  readonly name: string;
  readonly kind: Kind;
  /** Bad values of the kind that are fine here. */
  readonly allowed?: readonly unknown[];
  /** Further bad values. */
  readonly more?: readonly unknown[];
  readonly invoke: (value: unknown) => unknown;
}

type Keys = Readonly<
  Record<string, Kind | { kind: Kind; more?: readonly unknown[]; allowed?: readonly unknown[] }>
>;

function optionsOf(caller: string, invoke: (options: never) => unknown, base: object, keys: Keys): Call[] {
  const calls: Call[] = Object.entries(keys).map(([key, kind]) => ({
    name: `${caller} ${key}`,
    ...(typeof kind === 'string' ? { kind } : kind),
    invoke: (value) => invoke({ ...base, [key]: value } as never),
  }));
  return [...calls, { name: `${caller} options`, kind: 'object', invoke: (value) => invoke(value as never) }];
}

/** Every argument of every function of the public API that runs on this device and model (1 channel, 4 levels). */
export function publicCalls(device: api.Device, model: api.PixelCNN): Call[] {
  const random = new TestRandom(1);
  const images: api.ImageBatch = { data: random.bytes(16), count: 1, height: 4, width: 4, channels: 1 };
  const raster = { data: random.bytes(16), width: 4, height: 4, channels: 1 as const };
  const inference: Keys = { algorithm: 'choice', weights: 'choice', signal: 'signal' };
  const drawing: Keys = {
    ...inference,
    seed: 'seed',
    temperature: { kind: 'number', more: [1e7] },
    firstIndex: 'count',
  };
  const sizes: Keys = {
    count: 'integer',
    height: { kind: 'integer', more: [5000] },
    width: { kind: 'integer', more: [5000] },
  };
  const shape = { input: new Float32Array(16), inputShape: [1, 4, 4, 1] };
  const conv = { ...shape, weight: new Float32Array(18), outChannels: 2, kernelSize: 3, maskType: 'B' };
  const convKeys: Keys = {
    input: 'floats',
    inputShape: 'shape',
    weight: 'floats',
    outChannels: 'integer',
    kernelSize: { kind: 'integer', more: [2, 32, 33] },
    maskType: 'choice',
    channelGroups: { kind: 'integer', more: [2, 257] },
    algorithm: 'choice',
    bias: 'floats',
  };
  const create = (options: never) => api.PixelCNN.create(device, options);
  const draw = { height: 3, width: 3, seed: 1 };
  const position = (
    name: string,
    kind: Kind,
    invoke: (value: never) => unknown,
    more: readonly unknown[] = [],
  ): Call => {
    return { name, kind, more, invoke: invoke as (value: unknown) => unknown };
  };
  return [
    ...optionsOf(
      'openDevice',
      (options) => api.openDevice(options),
      {},
      {
        backend: 'choice',
        index: { kind: 'count', more: [1024] },
        threads: { kind: 'integer', more: [1025] },
      },
    ),
    position('maskedConv2d device', 'device', (value) => api.maskedConv2d(value, conv as never)),
    ...optionsOf('maskedConv2d', (options) => api.maskedConv2d(device, options), conv, convKeys),
    position('maskedConv2dBackward device', 'device', (value) =>
      api.maskedConv2dBackward(value, conv as never),
    ),
    ...optionsOf(
      'maskedConv2dBackward',
      (options) => api.maskedConv2dBackward(device, options),
      { ...conv, gradOutput: new Float32Array(32) },
      { ...convKeys, gradOutput: 'floats' },
    ),
    position('PixelCNN.create device', 'device', (value) => api.PixelCNN.create(value)),
    ...optionsOf(
      'PixelCNN.create',
      create,
      {},
      {
        channels: { kind: 'integer', more: [17] },
        hiddenChannels: { kind: 'integer', more: [2049] },
        layers: { kind: 'integer', more: [1, 129] },
        levels: { kind: 'integer', more: [1, 257] },
        kernelSize: { kind: 'integer', more: [2, 32, 33] },
        seed: 'seed',
      },
    ),
    position('PixelCNN.load device', 'device', (value) => api.PixelCNN.load(value, new Uint8Array(8))),
    position('PixelCNN.load source', 'bytes', (value) => api.PixelCNN.load(device, value)),
    position('PixelCNN.load source', 'path', (value) => api.PixelCNN.load(device, value)),
    position('save path', 'path', (value) => model.save(value)),
    ...optionsOf('save', (options) => model.save('/no/such/folder/x', options), {}, { weights: 'choice' }),
    position('parameters weights', 'choice', (value) => model.parameters(value)),
    position('logits images', 'images', (value) => model.logits(value)),
    ...optionsOf('logits', (options) => model.logits(images, options), {}, inference),
    position('logLikelihood images', 'images', (value) => model.logLikelihood(value)),
    ...optionsOf('logLikelihood', (options) => model.logLikelihood(images, options), {}, inference),
    ...optionsOf('sample', (options) => model.sample(options), draw, {
      ...drawing,
      ...sizes,
      uniforms: {
        kind: 'floats',
        more: [
          new Float32Array(9).fill(1),
          new Float32Array(9).fill(-0.1),
          new Float32Array(9).fill(Number.NaN),
        ],
      },
    }),
    ...optionsOf('sampleStream', async (options) => model.sampleStream(options).next(), draw, {
      ...drawing,
      ...sizes,
      stepsPerFrame: 'integer',
    }),
    ...optionsOf(
      'complete',
      (options) => model.complete(options),
      { images, known: new Uint8Array(16) },
      {
        ...drawing,
        images: 'images',
        known: { kind: 'bytes', more: [new Uint8Array(17)] },
      },
    ),
    position('evaluate model', 'device', (value) => api.evaluate(value, images)),
    position('evaluate images', 'images', (value) => api.evaluate(model, value)),
    ...optionsOf(
      'evaluate',
      (options) => api.evaluate(model, images, options),
      {},
      {
        ...inference,
        protocol: { kind: 'choice', more: ['threshold', 'dynamic'] },
        draws: 'integer',
        seed: { kind: 'count' },
      },
    ),
    position('imageGrid images', 'images', (value) => api.imageGrid(value), [
      { ...images, channels: 5, data: new Uint8Array(80) },
    ]),
    ...(['columns', 'scale'] as const).map((key) =>
      position(`imageGrid ${key}`, 'integer', (value) => api.imageGrid(images, { [key]: value })),
    ),
    ...(['padding', 'background'] as const).map((key) =>
      position(`imageGrid ${key}`, 'count', (value) => api.imageGrid(images, { [key]: value })),
    ),
    position('selectImages images', 'images', (value) => api.selectImages(value, [0])),
    position('selectImages indices', 'count', (value) => api.selectImages(images, [value]), [1]),
    position('sliceImages images', 'images', (value) => api.sliceImages(value, 0)),
    position('sliceImages start', 'count', (value) => api.sliceImages(images, value), [1]),
    position('sliceImages end', 'integer', (value) => api.sliceImages(images, 0, value), [2]),
    position('decodePng bytes', 'bytes', (value) => api.decodePng(value)),
    position('encodePng data', 'bytes', (value) => api.encodePng({ ...raster, data: value })),
    position('encodePng width', 'integer', (value) => api.encodePng({ ...raster, width: value })),
    position('encodePng height', 'integer', (value) => api.encodePng({ ...raster, height: value })),
    position('encodePng channels', 'integer', (value) => api.encodePng({ ...raster, channels: value }), [5]),
  ].map((call) => {
    // Of 1 channel the model takes any image; a selection or a grid takes 2 as well.
    const twoChannels = call.kind === 'images' && /^(imageGrid|selectImages|sliceImages)/.test(call.name);
    return twoChannels
      ? {
          ...call,
          allowed: badValues.images.filter((value) => {
            return (value as { channels?: unknown } | null)?.channels === 2;
          }),
        }
      : call;
  });
}
