// Opens a GPU for tests: the CUDA backend compiled for the emulator of test/native/cuda_emulator, or a real GPU
// where PIXELCNN_TEST_GPU is 1 (scripts/gpu-acceptance sets it).
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll } from 'vitest';
import { type Device, type DeviceOptions, openDevice } from '../../src/device/device.js';

export const realGpu = process.env.PIXELCNN_TEST_GPU === '1';
export const emulatedLibrary = fileURLToPath(
  new URL('../../build/libpixelcnn_cuda_emulated_plain.so', import.meta.url),
);

/** Runs `body` with environment variables that native code reads; undefined removes one. */
export async function withEnvironment<T>(
  variables: Readonly<Record<string, string | undefined>>,
  body: () => Promise<T>,
): Promise<T> {
  const before = new Map(Object.keys(variables).map((name) => [name, process.env[name]]));
  const set = (name: string, value: string | undefined) => {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  };
  for (const [name, value] of Object.entries(variables)) set(name, value);
  try {
    return await body();
  } finally {
    for (const [name, value] of before) set(name, value);
  }
}

/** Opens the GPU, by default in strict float32. */
export async function openGpu(
  options: DeviceOptions = {},
  variables: Readonly<Record<string, string | undefined>> = {},
): Promise<Device> {
  if (!realGpu && !existsSync(emulatedLibrary)) {
    throw new Error(`${emulatedLibrary} is missing: run node scripts/build/setup.mjs --tests`);
  }
  const library = realGpu ? {} : { PIXELCNN_CUDA_LIBRARY: emulatedLibrary };
  return withEnvironment({ ...library, ...variables }, () =>
    openDevice({ backend: 'cuda', precision: 'f32', ...options }),
  );
}

/** One GPU in strict float32 for a test file: opened before its tests, disposed after them. */
export function testGpu(): () => Device {
  let device: Device | undefined;
  beforeAll(async () => {
    device = await openGpu();
  });
  afterAll(() => device?.dispose());
  return () => {
    if (device === undefined) throw new Error('the device is open only while tests run');
    return device;
  };
}
