// Gives tests a model on a device with limits, a long and a short call for it, and says how a call ended.
import { type Device, type DeviceOptions, openDevice } from '../../src/device/device.js';
import type { PixelCNN } from '../../src/pixelcnn.js';
import { randomModel } from '../helpers/models.js';

const options = { hiddenChannels: 32, layers: 5, levels: 8, kernelSize: 5 };
export const long = { count: 64, height: 96, width: 96, seed: 1 };
export const short = { height: 4, width: 4, seed: 1 };

/** Runs `body` with a model on a device of its own that has these limits. */
export async function withLimits(
  limits: DeviceOptions['limits'],
  body: (model: PixelCNN, device: Device) => Promise<void>,
): Promise<void> {
  const device = await openDevice({ backend: 'cpu', threads: 2, ...(limits && { limits }) });
  try {
    await body(await randomModel(device, options, 1), device);
  } finally {
    await device.dispose();
  }
}

/** What became of a call: 'worked', the code of its error, or an error without a code. */
export const outcome = (call: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(call).then(
    () => 'worked',
    (error: { code?: unknown }) => error.code ?? error,
  );
