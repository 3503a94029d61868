// Tests what goes wrong with a GPU: there is none, no memory is left, a kernel fails. Each case has a process of
// its own.
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../src/device/device.js';
import { runChild } from '../helpers/child.js';
import { emulatedLibrary, realGpu, withEnvironment } from '../helpers/cuda.js';

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

  it('says why the GPU was passed over where the CPU lacks what was asked for', async () => {
    await withEnvironment(missing, async () => {
      await expect(openDevice({ precision: 'f16' })).rejects.toMatchObject({
        code: 'ERR_PRECISION',
        message: expect.stringContaining('/nonexistent/libpixelcnn_cuda.so'),
        remedy: expect.stringContaining('doctor'),
      });
    });
  });

  it('refuses a file that is no library', async () => {
    const file = path.join(await mkdtemp(path.join(tmpdir(), 'pixelcnn-')), 'libpixelcnn_cuda.so');
    await writeFile(file, 'not a library');
    await withEnvironment({ PIXELCNN_CUDA_LIBRARY: file }, async () => {
      const opening = openDevice({ backend: 'cuda' });
      await expect(opening).rejects.toMatchObject({ code: 'ERR_BACKEND_UNAVAILABLE' });
    });
  });
});

/** Runs children/device.mjs on an emulated GPU of these properties. */
async function useGpu(
  variables: Readonly<Record<string, string>>,
  options: object,
  ...counts: readonly number[]
) {
  const { stdout, stderr, code } = await runChild('cuda/children/device.mjs', {
    args: [JSON.stringify(options), ...counts.map(String)],
    env: { PIXELCNN_CUDA_LIBRARY: emulatedLibrary, ...variables },
    timeout: 120_000,
  });
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

describe.skipIf(realGpu)('an emulated GPU', () => {
  it('tells what it is', async () => {
    const { info } = await useGpu({}, {});
    const expected = { backend: 'cuda', instructionSet: 'sm_90', precision: 'bf16', rejected: [] };
    expect(info).toMatchObject(expected);
    expect(info.cudnn).toMatch(/^none: /);
  });

  it('without bf16 takes f16, and refuses what it lacks', async () => {
    const turing = { PIXELCNN_EMULATOR_CAPABILITY: '75' };
    const { info } = await useGpu(turing, {});
    expect(info).toMatchObject({ instructionSet: 'sm_75', precision: 'f16' });
    const { error } = await useGpu(turing, { precision: 'bf16' });
    expect(error).toMatchObject({ code: 'ERR_PRECISION', message: expect.stringContaining('f32, f16') });
  });

  it('is refused if it is too old, or not there', async () => {
    const old = await useGpu({ PIXELCNN_EMULATOR_CAPABILITY: '70' }, {});
    expect(old.error).toMatchObject({ code: 'ERR_BACKEND_UNAVAILABLE' });
    const index = await useGpu({}, { index: 1 });
    expect(index.error).toMatchObject({ code: 'ERR_NO_DEVICE' });
    const none = await useGpu({ PIXELCNN_EMULATOR_DEVICES: '0' }, {});
    expect(none.error).toMatchObject({ code: 'ERR_BACKEND_UNAVAILABLE', remedy: expect.any(String) });
  });

  it('works again after it was out of memory', async () => {
    const memory = { PIXELCNN_EMULATOR_MEMORY: String(4 << 20) };
    const { calls } = await useGpu(memory, { precision: 'f32' }, 1, 20000, 1);
    expect(calls[1]).toMatchObject({ code: 'ERR_OUT_OF_MEMORY', remedy: expect.any(String) });
    expect(calls[0].drawn).toHaveLength(72);
    expect(calls[2]).toEqual(calls[0]);
  });

  it('is disposed at any moment of a step: the step ends, then the memory goes', {
    timeout: 120_000,
  }, async () => {
    const { stdout, stderr, code, signal } = await runChild('cuda/children/dispose.mjs', {
      env: { PIXELCNN_CUDA_LIBRARY: emulatedLibrary },
      timeout: 100_000,
    });
    expect([stderr, code, signal]).toEqual(['', 0, null]);
    const { ERR_DISPOSED, drawn = 0, ...others } = JSON.parse(stdout);
    expect(ERR_DISPOSED + drawn).toBe(60);
    expect(ERR_DISPOSED).toBeGreaterThan(10);
    expect(others).toEqual({});
  });

  it.each([
    ['1', 'pack'],
    ['2', 'uniforms'],
  ])('names the op that failed: launch %s, %s', async (launch, op) => {
    const { calls } = await useGpu({ PIXELCNN_EMULATOR_FAIL_LAUNCH: launch }, { precision: 'f32' }, 1);
    expect(calls[0]).toMatchObject({
      code: 'ERR_CUDA',
      message: expect.stringMatching(new RegExp(`^${op}: .*unspecified launch failure`)),
      remedy: expect.stringContaining('PIXELCNN_SYNC=1'),
    });
  });

  it('is lost after an error that CUDA does not recover from', async () => {
    const { calls } = await useGpu({ PIXELCNN_EMULATOR_FAIL_LAUNCH: '12' }, { precision: 'f32' }, 1, 1);
    expect(calls[0]).toMatchObject({
      code: 'ERR_CUDA',
      message: expect.stringMatching(/unspecified launch failure/),
    });
    expect(calls[1]).toMatchObject({ code: 'ERR_DEVICE_LOST', remedy: expect.any(String) });
  });
});
