// Measures the delay of the event loop while there is work of the kind argv[2], beside that of an idle one. Prints JSON.
import { openDevice, PixelCNN, train } from '../../../dist/index.js';
import { besideIdleLoop } from '../../helpers/idle-loop.mjs';

const device = await openDevice({ backend: 'cpu' });
const model = await PixelCNN.create(device, {});
const images = (count) => ({ data: new Uint8Array(count * 784), count, height: 28, width: 28, channels: 1 });
const block = (milliseconds) => {
  for (const end = performance.now() + milliseconds; performance.now() < end; );
};
const trainSteps = () => train(model, images(64), { epochs: 1000, steps: 12 });
const work = {
  sample: () => model.sample({ count: 16, height: 28, width: 28, seed: 1 }),
  likelihood: () => model.logLikelihood(images(96)),
  train: trainSteps,
  open: async () => (await openDevice({ backend: 'cuda' })).dispose(),
  'planted: blocks': () => {
    block(40);
    return new Promise((resolve) => setTimeout(resolve, 1));
  },
  // A third of the main thread's time.
  'planted: blocks while training': async () => {
    const planted = setInterval(() => block(40), 80);
    await trainSteps();
    clearInterval(planted);
  },
}[process.argv[2]];
await work();
const { own, idle } = await besideIdleLoop(async () => {
  for (const end = performance.now() + 2500; performance.now() < end; ) await work();
});
console.log(JSON.stringify({ own, idle }));
await device.dispose();
