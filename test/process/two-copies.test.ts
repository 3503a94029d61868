// Tests objects of another copy of the package, or of the same one loaded twice: every function that takes them
// says so.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, expect, it, vi } from 'vitest';
import * as api from '../../src/index.js';
import { packageVersion } from '../../src/version.js';
import { packageCopy, packageRoot } from '../helpers/built-package.js';
import { testDevice } from '../helpers/models.js';

type Api = typeof api;
const images = { data: new Uint8Array(16), count: 1, height: 4, width: 4, channels: 1 };
const small = { levels: 2, hiddenChannels: 4, layers: 2, kernelSize: 3 };
const conv = {
  input: new Float32Array(4),
  inputShape: [1, 2, 2, 1],
  weight: new Float32Array(9),
  outChannels: 1,
  kernelSize: 3,
  maskType: 'B',
} as const;

/** Every function that takes a device or a model. */
const calls: readonly [string, (of: Api, device: api.Device, model: api.PixelCNN) => unknown][] = [
  ['PixelCNN.create', (of, device) => of.PixelCNN.create(device, small)],
  ['PixelCNN.load', (of, device) => of.PixelCNN.load(device, new Uint8Array(8))],
  ['maskedConv2d', (of, device) => of.maskedConv2d(device, conv as never)],
  [
    'maskedConv2dBackward',
    (of, device) => of.maskedConv2dBackward(device, { ...conv, gradOutput: new Float32Array(4) } as never),
  ],
  ['evaluate', (of, _, model) => of.evaluate(model, images)],
  ['train', (of, _, model) => of.train(model, images, { steps: 1 })],
];

const device = testDevice({ threads: 1 });
let model: api.PixelCNN;
beforeAll(async () => {
  model = await api.PixelCNN.create(device(), small);
});
const copy = packageCopy('two-copies', ['dist', 'package.json', 'build/Release/pixelcnn.node']);
const load = async (folder: string) =>
  (await import(pathToFileURL(join(folder, 'dist/index.js')).href)) as Api;
const failure = async (call: () => unknown): Promise<api.PixelCnnError> => {
  try {
    await call();
  } catch (error) {
    return error as api.PixelCnnError;
  }
  throw new Error('nothing was thrown');
};

it.each(calls)('%s names both copies', async (name, call) => {
  writeFileSync(join(copy, 'package.json'), JSON.stringify({ type: 'module', version: '0.0.7' }));
  const two = await load(copy);
  const error = await failure(() => call(two, device(), model));
  expect(error).toMatchObject({
    code: 'ERR_TWO_COPIES',
    remedy: expect.stringMatching(/npm ls pixelcnn.*npm dedupe/),
  });
  expect(error.message).toContain(name);
  expect(error.message).toMatch(/(device|model) comes from another copy of pixelcnn/);
  expect(error.message).toContain(`version ${packageVersion()} in ${packageRoot}`);
  expect(error.message).toContain(`version 0.0.7 in ${copy}`);
});

it.each(calls)('%s says when one copy is loaded twice', async (name, call) => {
  vi.resetModules();
  const again = (await import('../../src/index.js')) as Api;
  expect(again.PixelCNN).not.toBe(api.PixelCNN);
  const error = await failure(() => call(again, device(), model));
  expect(error).toMatchObject({ code: 'ERR_TWO_COPIES', remedy: expect.stringMatching(/resetModules/) });
  expect(error.message).toContain(name);
  expect(error.message).toContain('is loaded twice');
});

it('what is of no copy, or only looks like one, stays a wrong argument', async () => {
  const mark = Symbol.for('pixelcnn.copy');
  const throwing = Object.defineProperty({}, mark, {
    get() {
      throw new Error('read');
    },
  });
  const odd = [
    {},
    Object.create(api.PixelCNN.prototype),
    throwing,
    { [mark]: null },
    { [mark]: { version: 1 } },
    3,
  ];
  for (const value of odd) {
    const error = await failure(() => api.PixelCNN.create(value as never, small));
    expect(error.code).toBe('ERR_INVALID_ARG_TYPE');
  }
  expect((await failure(() => api.evaluate(device() as never, images))).code).toBe('ERR_INVALID_ARG_TYPE');
});
