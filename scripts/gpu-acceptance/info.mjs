// Part `info-cudnn`: what a device says of itself, and that cuDNN survives its trial.
import { openDevice } from '../../dist/index.js';

export async function info({ say }) {
  const start = performance.now();
  const device = await openDevice({ backend: 'cuda' });
  say({ opened: (performance.now() - start) / 1000, ...device.info });
  await device.dispose();
  if (!withoutCudnn(device)) return;
  // With a library given, its refusal is a failure; without one there was nothing to try.
  if (process.env.PIXELCNN_CUDNN === undefined) say({ leftOut: `no cuDNN here: ${device.info.cudnn}` });
  else say({ failure: `cuDNN in ${process.env.PIXELCNN_CUDNN} is not used: ${device.info.cudnn}` });
}

/** Whether our own kernels do everything on this device. */
export function withoutCudnn(device) {
  return (device.info.cudnn ?? 'none').startsWith('none');
}
