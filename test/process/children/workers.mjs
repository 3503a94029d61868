// Starts argv 2 workers, argv 3 at a time, each of which creates models, trains and samples until it is terminated
// at a random moment (seed argv 4). Afterwards the main thread's model must draw what it drew before.
import { isMainThread, Worker } from 'node:worker_threads';
import { openDevice, PixelCNN, train } from '../../../dist/index.js';

const device = await openDevice({ backend: 'cpu', threads: 2 });
const options = { hiddenChannels: 16, layers: 4, levels: 8, kernelSize: 5 };
const size = { height: 8, width: 8, seed: 1 };

async function workerBody() {
  const images = { data: new Uint8Array(16 * 64).fill(90), count: 16, height: 8, width: 8, channels: 1 };
  for (;;) {
    const model = await PixelCNN.create(device, options);
    await train(model, images, { batchSize: 4 });
    await Promise.all([
      model.sample(size),
      model.logLikelihood(images),
      model.sample({ ...size, count: 40 }),
    ]);
    await model.dispose();
  }
}

async function mainBody([workers, atATime, seed]) {
  let state = seed;
  const random = () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state / 2 ** 32;
  };
  const model = await PixelCNN.create(device, options);
  const hex = async () => Buffer.from((await model.sample({ ...size, count: 4 })).data).toString('hex');
  const before = await hex();
  let left = workers;
  const unexpected = [];
  const one = async () => {
    while (left-- > 0) {
      const worker = new Worker(new URL(import.meta.url));
      worker.on('error', (error) => unexpected.push(String(error)));
      const exit = new Promise((resolve) => worker.once('exit', resolve));
      // From before its first line to well into its work.
      await new Promise((resolve) => setTimeout(resolve, random() * 400));
      await worker.terminate();
      await exit;
    }
  };
  await Promise.all(Array.from({ length: atATime }, one));
  console.log(JSON.stringify({ same: (await hex()) === before, unexpected }));
  await device.dispose();
}

await (isMainThread ? mainBody(process.argv.slice(2).map(Number)) : workerBody());
