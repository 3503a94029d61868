// What goes wrong with a GPU: none there, no memory left, a kernel that fails.
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../src/device.js';
import { PixelCNN } from '../../src/models/pixelcnn.js';
import { openGpu, withEnvironment } from '../helpers/cuda.js';

const small = { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 };
const size = { count: 1, height: 6, width: 6, seed: 1 };

describe('a machine without a usable GPU', () => {
  const missing = { PIXELCNN_CUDA_LIBRARY: '/nonexistent/libpixelcnn_cuda.so' };

  it('rejects cuda with a code and a remedy', async () => {
    await withEnvironment(missing, async () => {
      await expect(openDevice({ backend: 'cuda' })).rejects.toMatchObject({
        code: 'ERR_BACKEND_UNAVAILABLE',
        message: expect.stringContaining('/nonexistent/libpixelcnn_cuda.so'),
        remedy: expect.stringContaining('npx pixelcnn build'),
      });
    });
  });

  it('takes the CPU under auto and says why', async () => {
    await withEnvironment(missing, async () => {
      await using device = await openDevice();
      expect(device.info.backend).toBe('cpu');
      expect(device.info.rejected).toMatchObject([{ backend: 'cuda', code: 'ERR_BACKEND_UNAVAILABLE' }]);
    });
  });

  it('refuses a file that is no library', async () => {
    const file = path.join(await mkdtemp(path.join(tmpdir(), 'pixelcnn-')), 'libpixelcnn_cuda.so');
    await writeFile(file, 'not a library');
    await withEnvironment({ PIXELCNN_CUDA_LIBRARY: file }, async () => {
      await expect(openDevice({ backend: 'cuda' })).rejects.toMatchObject({
        code: 'ERR_BACKEND_UNAVAILABLE',
      });
    });
  });
});

describe('a GPU', () => {
  it('tells what it is', async () => {
    await using device = await openGpu({ precision: 'auto' });
    expect(device.info).toMatchObject({
      backend: 'cuda',
      instructionSet: 'sm_90',
      precision: 'bf16',
      rejected: [],
    });
    expect(device.info.cudnn).toMatch(/^none: /);
  });

  it('without bf16 takes f16, and refuses what it lacks', async () => {
    const turing = { PIXELCNN_EMULATED_CAPABILITY: '7.5' };
    await using device = await openGpu({ precision: 'auto' }, turing);
    expect(device.info).toMatchObject({ instructionSet: 'sm_75', precision: 'f16' });
    await expect(openGpu({ precision: 'bf16' }, turing)).rejects.toMatchObject({ code: 'ERR_PRECISION' });
    await expect(openGpu({}, { PIXELCNN_EMULATED_CAPABILITY: '7.0' })).rejects.toMatchObject({
      code: 'ERR_BACKEND_UNAVAILABLE',
    });
  });

  it('refuses an index that is not there', async () => {
    await expect(openGpu({ index: 1 })).rejects.toMatchObject({ code: 'ERR_NO_DEVICE' });
  });

  it('out of memory is an error after which it works', async () => {
    await using device = await openGpu({}, { PIXELCNN_EMULATED_MEMORY: String(8 << 20) });
    const model = await PixelCNN.create(device, small);
    const before = await model.sample(size);
    await expect(model.sample({ ...size, count: 600 })).rejects.toMatchObject({
      code: 'ERR_OUT_OF_MEMORY',
      remedy: expect.any(String),
    });
    expect(await model.sample(size)).toEqual(before);
  });

  it('is lost after an error that CUDA does not recover from', async () => {
    const device = await openGpu({}, { PIXELCNN_EMULATED_LAUNCH_FAILURE: '12' });
    const model = await PixelCNN.create(device, small);
    await expect(model.sample(size)).rejects.toMatchObject({
      code: 'ERR_CUDA',
      message: expect.stringMatching(/op \d+ \(\w+\): .+/),
    });
    await expect(model.sample(size)).rejects.toMatchObject({ code: 'ERR_DEVICE_LOST' });
    await device.dispose();
    await using fresh = await openGpu();
    const again = await PixelCNN.create(fresh, small);
    expect((await again.sample(size)).count).toBe(1);
  });
});
