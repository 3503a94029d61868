// Lives and ends in the way that argv[2] names; it is also the body of the worker threads that it starts.
import { createRequire } from 'node:module';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { openDevice, PixelCNN, train } from '../../../dist/index.js';

const scenario = isMainThread ? process.argv[2] : workerData;
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const small = { count: 2, height: 6, width: 6, seed: 1 };
// Seconds of work: whatever ends the process comes in the middle of it.
const long = { count: 64, height: 96, width: 96, seed: 1 };

async function open() {
  const device = await openDevice({ backend: 'cpu' });
  const model = await PixelCNN.create(device, { hiddenChannels: 32, layers: 5, levels: 8, kernelSize: 5 });
  return { device, model };
}
const startWorker = (name) => new Worker(new URL(import.meta.url), { workerData: name });
const exitOf = (worker) => new Promise((resolve) => worker.once('exit', resolve));
const messageOf = (worker) => {
  return new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
};
const assert = (condition, message) => {
  if (!condition) throw new Error(message);
};
const codeOf = (promise) =>
  promise.then(
    () => 'worked',
    (error) => error.code ?? String(error),
  );
const hex = ({ data }) => Buffer.from(data).toString('hex');

const startTraining = ({ model }) => {
  const images = { data: new Uint8Array(256 * 784).fill(90), count: 256, height: 28, width: 28, channels: 1 };
  return train(model, images, { epochs: 1000 });
};

const scenarios = {
  async 'end, nothing disposed'() {
    const { model } = await open();
    await model.sample(small);
  },
  async 'end, all disposed'() {
    const { device, model } = await open();
    await model.sample(small);
    await model.dispose();
    await device.dispose();
  },
  async 'end, work not awaited'() {
    const { model } = await open();
    model.sample(small).then(() => console.log('finished'));
  },
  async 'end, device opened only'() {
    await openDevice({ backend: 'cpu' });
  },
  async 'end, opening not awaited'() {
    openDevice({ backend: 'cpu' }).then(() => console.log('opened'));
  },
  async 'exit while opening'() {
    for (let i = 0; i < 8; i += 1) openDevice({ backend: 'cpu', threads: 64 });
    process.exit(7);
  },
  async 'terminate workers while opening'() {
    for (let i = 0; i < 12; i += 1) {
      const worker = startWorker('worker: open');
      const exit = exitOf(worker);
      await messageOf(worker);
      await sleep(i % 3);
      await worker.terminate();
      await exit;
    }
  },
  async 'worker: open'() {
    const opening = Array.from({ length: 8 }, () => openDevice({ backend: 'cpu', threads: 64 }));
    parentPort.postMessage('opening');
    await Promise.all(opening);
  },
  async 'exit when idle'() {
    const { model } = await open();
    await model.sample(small);
    process.exit(7);
  },
  async 'exit mid-sample'() {
    const { model } = await open();
    model.sample(long);
    setTimeout(() => process.exit(7), 60);
  },
  async 'exit mid-likelihood'() {
    const { model } = await open();
    model.logLikelihood({ data: new Uint8Array(512 * 4096), count: 512, height: 64, width: 64, channels: 1 });
    setTimeout(() => process.exit(7), 30);
  },
  async 'throw mid-sample'() {
    const { model } = await open();
    model.sample(long);
    setTimeout(() => {
      throw new Error('planted');
    }, 60);
  },
  async 'wait for SIGTERM'() {
    const { model } = await open();
    model.sample(long);
    await sleep(50);
    console.log('ready');
  },
  async 'handle SIGTERM'() {
    const { device, model } = await open();
    const controller = new AbortController();
    process.once('SIGTERM', () => controller.abort(new Error('stopped')));
    const work = model.sample({ ...long, signal: controller.signal });
    await sleep(50);
    console.log('ready');
    await work.catch((error) => assert(error.message === 'stopped', String(error)));
    await device.dispose();
  },
  async 'exit mid-training'() {
    startTraining(await open());
    setTimeout(() => process.exit(7), 90);
  },
  async 'dispose mid-training'() {
    const opened = await open();
    const code = codeOf(startTraining(opened));
    await sleep(90);
    await opened.device.dispose();
    assert((await code) === 'ERR_DISPOSED', await code);
  },
  async 'terminate workers mid-training'() {
    for (let i = 0; i < 6; i += 1) {
      const worker = startWorker('worker: train');
      const exit = exitOf(worker);
      await messageOf(worker);
      await sleep(i * 15);
      await worker.terminate();
      await exit;
    }
  },
  async 'worker: train'() {
    const run = startTraining(await open());
    parentPort.postMessage('started');
    await run;
  },
  async 'dispose mid-step'() {
    const { device, model } = await open();
    const work = [codeOf(model.sample(long)), codeOf(model.sample(long)), codeOf(model.sample(long))];
    await sleep(60);
    await device.dispose();
    const codes = await Promise.all(work);
    assert(
      codes.every((code) => code === 'ERR_DISPOSED'),
      codes.join(),
    );
  },
  async 'dispose the model mid-sample, then drop everything'() {
    const { model } = await open();
    const work = codeOf(model.sample({ ...long, count: 16, height: 28, width: 28 }));
    await sleep(20);
    await model.dispose();
    assert(['worked', 'ERR_DISPOSED'].includes(await work), await work);
  },
  async 'garbage while working'() {
    for (let i = 0; i < 10; i += 1) {
      const { model } = await open();
      const work = model.sample({ ...small, count: 4, height: 12 });
      globalThis.gc();
      await work;
    }
    globalThis.gc();
    await sleep(20);
  },
  async 'a worker samples'() {
    const { model } = await open();
    const worker = startWorker('worker: sample');
    const exit = exitOf(worker);
    const drawn = await messageOf(worker);
    assert(drawn === hex(await model.sample(small)), 'a worker draws other images');
    assert((await exit) === 0, 'worker exit code');
  },
  async 'two workers and the main thread at once'() {
    const { model } = await open();
    const workers = [startWorker('worker: sample'), startWorker('worker: sample')];
    const exits = workers.map(exitOf);
    const [own, ...drawn] = await Promise.all([model.sample(small), ...workers.map(messageOf)]);
    assert(
      drawn.every((data) => data === hex(own)),
      'images differ',
    );
    assert((await Promise.all(exits)).join() === '0,0', 'worker exit codes');
  },
  async 'terminate workers mid-sample'() {
    const { model } = await open();
    for (let i = 0; i < 12; i += 1) {
      const worker = startWorker('worker: long');
      const exit = exitOf(worker);
      if (i % 3 > 0) await messageOf(worker);
      await sleep((i * 7) % 40);
      await worker.terminate();
      await exit;
    }
    await model.sample(small);
  },
  async 'a worker exits mid-sample'() {
    const worker = startWorker('worker: exit');
    assert((await exitOf(worker)) === 5, 'worker exit code');
    const { model } = await open();
    await model.sample(small);
  },
  async 'a worker throws mid-sample'() {
    const worker = startWorker('worker: throw');
    const error = await new Promise((resolve) => worker.once('error', resolve));
    assert(error.message === 'planted', String(error));
    const { model } = await open();
    await model.sample(small);
  },
  async 'exit while a worker samples'() {
    await messageOf(startWorker('worker: long'));
    await sleep(30);
    process.exit(7);
  },
  async 'require() from CommonJS'() {
    const { openDevice: openRequired, PixelCNN: Model } = createRequire(import.meta.url)('pixelcnn');
    const device = await openRequired({ backend: 'cpu' });
    assert((await (await Model.create(device, { hiddenChannels: 4 })).sample(small)).count === 2, 'count');
    await device.dispose();
  },
  async 'worker: sample'() {
    const { model } = await open();
    parentPort.postMessage(hex(await model.sample(small)));
  },
  async 'worker: long'() {
    const { model } = await open();
    const work = model.sample(long);
    parentPort.postMessage('started');
    await work;
  },
  async 'worker: exit'() {
    const { model } = await open();
    model.sample(long);
    setTimeout(() => process.exit(5), 40);
  },
  async 'worker: throw'() {
    const { model } = await open();
    model.sample(long);
    setTimeout(() => {
      throw new Error('planted');
    }, 40);
  },
};

await scenarios[scenario]();
if (isMainThread) console.log('end of the script');
