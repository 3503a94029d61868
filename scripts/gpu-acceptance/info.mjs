// Runs the part `info-cudnn`: it writes down what a device says about itself, and checks that cuDNN survives its
// trial.
import { openDevice } from '../../dist/index.js';

export async function info({ say }) {
  const start = performance.now();
  const device = await openDevice({ backend: 'cuda' });
  say({ opened: (performance.now() - start) / 1000, ...device.info });
  await device.dispose();
  if (!withoutCudnn(device)) return;
  // A library that was given and refused is a failure. Without one there was nothing to try.
  if (process.env.PIXELCNN_CUDNN === undefined) say({ leftOut: `no cuDNN here: ${device.info.cudnn}` });
  else say({ failure: `cuDNN in ${process.env.PIXELCNN_CUDNN} is not used: ${device.info.cudnn}` });
}

/** Says whether our own kernels do everything on this device. */
export function withoutCudnn(device) {
  return (device.info.cudnn ?? 'none').startsWith('none');
}
