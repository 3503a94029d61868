// Lists every argument of every public function with its kind, for calls with bad values.
import { encodeSafetensors } from '../../src/checkpoint/safetensors.js';
import * as api from '../../src/index.js';
import { TestRandom } from '../helpers/random.js';
import { badValues, type Kind } from './bad-values.js';

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

const zeros = (...shape: number[]) => ({
  dtype: 'F32' as const,
  shape,
  data: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)),
});
/** A file that loads: 1 channel, 2 levels. */
const stateDict = encodeSafetensors(
  new Map([
    ['0.weight', zeros(2, 1, 3, 3)],
    ['2.weight', zeros(2, 2, 1, 1)],
  ]),
);

/**
 * Every argument of every function of the public API that runs on this device and model (1 channel, 4 levels). The
 * classifier differs only by its classes.
 */
export function publicCalls(device: api.Device, model: api.PixelCNN, classifier: api.PixelCNN): Call[] {
  const random = new TestRandom(1);
  const images: api.ImageBatch = { data: random.bytes(16), count: 1, height: 4, width: 4, channels: 1 };
  const raster = { data: random.bytes(16), width: 4, height: 4, channels: 1 as const };
  const png = api.encodePng(raster);
  const training: Keys = {
    epochs: 'integer',
    steps: 'integer',
    batchSize: { kind: 'integer', more: [65537] },
    learningRate: { kind: 'number', more: [11] },
    schedule: 'choice',
    warmupSteps: { kind: 'number', more: [1.5] },
    decaySteps: 'integer',
    decayFactor: { kind: 'number', more: [1.1] },
    beta1: { kind: 'number', more: [1] },
    beta2: { kind: 'number', more: [1] },
    epsilon: { kind: 'number', more: [0, 2] },
    weightDecay: { kind: 'number', more: [11] },
    maxGradientNorm: { kind: 'number', allowed: [1e300, 2 ** 53] },
    emaDecay: { kind: 'number', more: [1] },
    protocol: { kind: 'choice', more: ['threshold', 'dynamic'] },
    conditionDropout: { kind: 'number', more: [1.1, 0.1] },
    seed: { kind: 'count' },
    algorithm: 'choice',
    maxSkippedSteps: 'integer',
    checkpointEvery: 'count',
    keepLast: { kind: 'integer', more: [1001] },
    validation: { kind: 'images', more: [-0.1, 0.6, Number.NaN] },
    checkpointFolder: 'folder',
    resume: { kind: 'folder', allowed: [true], more: [true] },
    samples: 'count',
    signal: 'signal',
  };
  const inference: Keys = { algorithm: 'choice', weights: 'choice', signal: 'signal' };
  // The model has no condition, so that every condition is refused.
  const conditions: Keys = {
    labels: { kind: 'labels', more: [0, [0], 'none', Uint8Array.of(0)] },
    features: { kind: 'floats', more: ['none', new Float32Array(1)] },
    map: { kind: 'floats', more: ['none', new Float32Array(16)] },
  };
  const drawing: Keys = {
    ...inference,
    ...conditions,
    guidance: { kind: 'number', more: [1001, 2, 0] },
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
    ...optionsOf(
      'openDevice',
      (limits) => api.openDevice({ limits }),
      {},
      {
        maxQueue: { kind: 'integer', more: [1025] },
        maxBatch: 'integer',
        maxPixels: 'integer',
        timeoutMs: { kind: 'integer', more: [2 ** 31] },
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
        architecture: 'choice',
        firstKernelSize: { kind: 'integer', more: [2, 8, 33] },
        headChannels: { kind: 'integer', more: [2049] },
        condition: 'condition',
        seed: 'seed',
      },
    ),
    position('PixelCNN.load device', 'device', (value) => api.PixelCNN.load(value, new Uint8Array(8))),
    position('PixelCNN.load source', 'bytes', (value) => api.PixelCNN.load(device, value)),
    position('PixelCNN.load source', 'path', (value) => api.PixelCNN.load(device, value)),
    ...optionsOf(
      'PixelCNN.load',
      (options) => api.PixelCNN.load(device, stateDict, options),
      {},
      {
        channels: { kind: 'integer', more: [17] },
        hiddenChannels: { kind: 'integer', more: [2049] },
        layers: { kind: 'integer', more: [1, 129] },
        levels: { kind: 'integer', more: [1, 257] },
        kernelSize: { kind: 'integer', more: [32, 33] },
        architecture: 'choice',
        firstKernelSize: { kind: 'integer', more: [32, 33] },
        headChannels: { kind: 'integer', more: [2049] },
        condition: { kind: 'condition', more: [{ classes: 2 }] },
      },
    ),
    position('save path', 'path', (value) => model.save(value)),
    ...optionsOf('save', (options) => model.save('/no/such/folder/x', options), {}, { weights: 'choice' }),
    position('parameters weights', 'choice', (value) => model.parameters(value)),
    position('logits images', 'images', (value) => model.logits(value)),
    ...optionsOf(
      'logits',
      (options) => model.logits(images, options),
      {},
      {
        ...inference,
        ...conditions,
      },
    ),
    position('logLikelihood images', 'images', (value) => model.logLikelihood(value)),
    ...optionsOf(
      'logLikelihood',
      (options) => model.logLikelihood(images, options),
      {},
      {
        ...inference,
        ...conditions,
      },
    ),
    position('classify images', 'images', (value) => classifier.classify(value)),
    ...optionsOf(
      'classify',
      (options) => classifier.classify(images, options),
      {},
      {
        ...inference,
        protocol: { kind: 'choice', more: ['threshold', 'dynamic'] },
        seed: { kind: 'count' },
      },
    ),
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
        ...conditions,
        protocol: { kind: 'choice', more: ['threshold', 'dynamic'] },
        draws: 'integer',
        seed: { kind: 'count' },
      },
    ),
    position('trace images', 'images', (value) => model.trace(value)),
    ...optionsOf('trace', (options) => model.trace(images, options), {}, { ...inference, ...conditions }),
    position('train model', 'device', async (value) => api.train(value, images)),
    position('train dataset', 'images', async (value) => api.train(model, value, { steps: 1 })),
    ...optionsOf('train', async (options) => api.train(model, images, options), { steps: 1 }, training),
    position('loadImages options', 'object', (value) => api.loadImages(value)),
    position('loadImages spec', 'path', (value) => api.loadImages(value)),
    ...optionsOf(
      'loadImages',
      api.loadImages as (options: never) => unknown,
      { path: '/no/such/folder' },
      {
        path: 'path',
        split: 'choice',
        labels: { kind: 'folder', allowed: [true] },
        limit: 'integer',
        offset: 'count',
        resize: {
          kind: 'integer',
          more: [{ width: 0, height: 1 }, { width: 1 }, { width: 1, height: 1.5 }, '3x', '0x1'],
        },
        crops: 'integer',
        background: { kind: 'count', more: [256, '#fff', [1, 2], '256'] },
        values: { kind: 'choice', more: ['level'] },
        pngLimits: { kind: 'object', more: [{ maxSide: 0 }, 'maxSide', 'maxSide=x'] },
        channels: { kind: 'integer', more: [2, 5, '1'] },
      },
    ),
    ...optionsOf('loadImages', api.loadImages as (options: never) => unknown, {}, { name: 'choice' }),
    position('imageGrid images', 'images', (value) => api.imageGrid(value), [
      { ...images, channels: 5, data: new Uint8Array(80) },
    ]),
    ...optionsOf(
      'imageGrid',
      (options) => api.imageGrid(images, options),
      {},
      { columns: 'integer', scale: 'integer', padding: 'count', background: 'count' },
    ),
    position('selectImages images', 'images', (value) => api.selectImages(value, [0])),
    position('selectImages indices', 'count', (value) => api.selectImages(images, [value]), [1]),
    position('sliceImages images', 'images', (value) => api.sliceImages(value, 0)),
    position('sliceImages start', 'count', (value) => api.sliceImages(images, value), [1]),
    position('sliceImages end', 'integer', (value) => api.sliceImages(images, 0, value), [2]),
    position('decodePng bytes', 'bytes', (value) => api.decodePng(value)),
    ...optionsOf(
      'decodePng',
      (options) => api.decodePng(png, options),
      {},
      {
        maxSide: 'integer',
        maxBytes: 'integer',
        maxCompressedBytes: 'integer',
        maxChunks: 'integer',
        strict: { kind: 'choice', allowed: [true] },
      },
    ),
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
