// Ends in one way (argv 2) while it does one thing (argv 3); argv 4 is a folder for files. It prints the time at
// which it begins to end.
import { join } from 'node:path';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { openDevice, PixelCNN, train } from '../../../dist/index.js';

const [way, activity, folder] = isMainThread ? process.argv.slice(2) : workerData;
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const images = (count, size) => {
  return {
    data: new Uint8Array(count * size * size).fill(90),
    count,
    height: size,
    width: size,
    channels: 1,
  };
};

/** Begins the activity on a model of its own; with `long` there are seconds of work, whose end nobody awaits. */
async function begin(long) {
  const device = await openDevice({ backend: 'cpu', threads: 2 });
  const model = await PixelCNN.create(device, { hiddenChannels: 32, layers: 5, levels: 8, kernelSize: 5 });
  const file = join(folder, `${way}-${activity}.safetensors`);
  await model.save(file);
  const repeat = async (body) => {
    for (let i = 0; i < (long ? 1e6 : 1); i += 1) await body();
  };
  const activities = {
    idle: async () => undefined,
    sample: () => model.sample({ count: long ? 64 : 1, height: long ? 96 : 8, width: 96, seed: 1 }),
    likelihood: () => model.logLikelihood(images(long ? 512 : 2, 64)),
    train: () => train(model, images(long ? 256 : 32, 28), { epochs: long ? 1000 : 1 }),
    save: () => repeat(() => model.save(file)),
    load: () => repeat(async () => (await PixelCNN.load(device, file)).dispose()),
  };
  // A termination may reject what is under way.
  Promise.resolve(activities[activity]()).catch(() => undefined);
  await sleep(30);
}

const leaving = () => process.stdout.write(`leaving ${Date.now()}\n`);
const startWorker = () => {
  const worker = new Worker(new URL(import.meta.url), { workerData: process.argv.slice(2) });
  const exit = new Promise((resolve) => worker.once('exit', resolve));
  const ready = new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
  return { worker, exit, ready };
};

const ways = {
  async 'event loop ends'() {
    await begin(false);
    leaving();
  },
  async 'process.exit'() {
    await begin(true);
    leaving();
    process.exit(7);
  },
  async 'uncaught exception'() {
    await begin(true);
    leaving();
    throw new Error('planted');
  },
  async SIGTERM() {
    await begin(true);
    leaving();
    process.kill(process.pid, 'SIGTERM');
    await sleep(60_000);
  },
  async 'worker ends'() {
    const { exit, ready } = startWorker();
    await ready;
    leaving();
    process.exitCode = await exit;
  },
  async 'worker.terminate'() {
    const { worker, exit, ready } = startWorker();
    await ready;
    leaving();
    await worker.terminate();
    await exit;
  },
  async 'process.exit, worker busy'() {
    const { ready } = startWorker();
    await ready;
    leaving();
    process.exit(7);
  },
};

if (isMainThread) {
  await ways[way]();
} else {
  await begin(way !== 'worker ends');
  parentPort.postMessage('ready');
}
