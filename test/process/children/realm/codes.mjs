// Checks what a user's tests see of the built package inside such a realm: codes of errors, arrays, signals.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import * as api from '../../../../dist/index.js';

const folder = mkdtempSync(join(tmpdir(), 'pixelcnn-realm-'));
const images = { data: new Uint8Array(16), count: 1, height: 4, width: 4, channels: 1 };
let device;
let model;
beforeAll(async () => {
  device = await api.openDevice({ backend: 'cpu', threads: 1 });
  model = await api.PixelCNN.create(device, { levels: 2, hiddenChannels: 4, layers: 3, kernelSize: 3 });
});
afterAll(async () => {
  await device.dispose();
  rmSync(folder, { recursive: true });
});
const codeOf = (promise) =>
  promise.then(
    () => 'no error',
    (error) => [error instanceof api.PixelCnnError, error.code],
  );

test('this realm is what the test says it is', () => {
  let foreign;
  try {
    mkdtempSync('/no/such/folder/x');
  } catch (error) {
    foreign = !(error instanceof Error);
  }
  expect(foreign).toBe(process.env.POOL === 'vmThreads');
});
test('errors of the system', async () => {
  expect(await codeOf(api.loadImages('/no/such/path'))).toEqual([true, 'ERR_DATASET_NOT_FOUND']);
  expect(await codeOf(api.PixelCNN.load(device, '/no/such/model'))).toEqual([true, 'ENOENT']);
  expect(await codeOf(model.save('/no/such/folder/model'))).toEqual([true, 'ENOENT']);
  expect(await codeOf(api.PixelCNN.load(device, folder))).toEqual([true, 'ERR_NOT_A_FILE']);
});
test('errors of zlib', async () => {
  const idx = Buffer.concat([Buffer.from([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]), Buffer.alloc(4)]);
  const damaged = gzipSync(idx);
  damaged[10] = 0x07; // a block of a type that deflate does not have
  const file = join(folder, 'damaged-idx3-ubyte.gz');
  writeFileSync(file, damaged);
  expect(await codeOf(api.loadImages(file))).toEqual([true, 'IDX_GZIP']);
  const png = Buffer.from(api.encodePng({ data: new Uint8Array(16), width: 4, height: 4, channels: 1 }));
  let code;
  try {
    api.decodePng(png.subarray(0, 40));
  } catch (error) {
    code = [error instanceof api.PixelCnnError, /^PNG_/.test(error.code)];
  }
  expect(code).toEqual([true, true]);
});
test('errors of the native part', async () => {
  const bad = api.openDevice({ backend: 'cuda', index: 1000 });
  expect((await codeOf(bad))[0]).toBe(true);
  const big = { levels: 256, hiddenChannels: 2048, layers: 4, kernelSize: 31 };
  expect(await codeOf(api.PixelCNN.create(device, big))).toEqual([true, 'ERR_LIMIT']);
  const closed = await api.openDevice({ backend: 'cpu' });
  const dead = await api.PixelCNN.create(closed, { levels: 2, hiddenChannels: 4, layers: 2 });
  const running = codeOf(dead.sample({ count: 64, height: 32, width: 32 }));
  await closed.dispose();
  expect(await running).toEqual([true, 'ERR_DISPOSED']);
});
test('arrays of either realm, and signals', async () => {
  const plain = await model.logLikelihood(images);
  const buffer = await model.logLikelihood({ ...images, data: Buffer.alloc(16) });
  expect([...buffer.nats]).toEqual([...plain.nats]);
  await model.save(join(folder, 'model'));
  const { readFileSync } = await import('node:fs');
  const again = await api.PixelCNN.load(device, readFileSync(join(folder, 'model')));
  expect([...(await again.logLikelihood(images)).nats]).toEqual([...plain.nats]);
  const conv = { input: new Float32Array(4), inputShape: [1, 2, 2, 1], weight: new Float32Array(9) };
  const y = await api.maskedConv2d(device, { ...conv, outChannels: 1, kernelSize: 3, maskType: 'B' });
  expect([...y]).toEqual([0, 0, 0, 0]);
  const { signal } = new AbortController();
  expect((await model.sample({ height: 2, width: 2, seed: 1, signal })).count).toBe(1);
  const reason = new Error('enough');
  await expect(model.sample({ height: 2, width: 2, signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
});
test('bad values stay refused', async () => {
  for (const data of [new Uint8Array(new SharedArrayBuffer(16)), new Int8Array(16), [1]]) {
    expect(await codeOf(model.logLikelihood({ ...images, data }))).toEqual([true, 'ERR_INVALID_ARG_TYPE']);
  }
  expect((await codeOf(model.sample({ height: 2, width: 2, signal: { aborted: false } })))[0]).toBe(true);
});
