// Disposes a GPU device at 60 moments of a call, one millisecond apart, and prints how the calls ended.
import { openDevice, PixelCNN } from '../../../dist/index.js';

const size = { count: 64, height: 6, width: 6, seed: 1 };
const endings = {};
for (let delay = 0; delay < 60; delay += 1) {
  const device = await openDevice({ backend: 'cuda', precision: 'f32' });
  const model = await PixelCNN.create(device, { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 });
  await model.sample(size); // its programs are compiled, so that the next call is all steps
  const ending = model.sample(size).then(
    () => 'drawn',
    (error) => error.code,
  );
  await new Promise((resolve) => setTimeout(resolve, delay));
  await device.dispose();
  endings[await ending] = (endings[await ending] ?? 0) + 1;
}
process.stdout.write(JSON.stringify(endings));
