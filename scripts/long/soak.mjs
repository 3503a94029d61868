// Runs mixed work in one process for a while and checks that memory, threads and handles stay where they were after
// warm-up.
// Usage: node scripts/long/soak.mjs [--minutes 30 | --seconds 30] [--plant memory|threads|handles]
// --plant leaks on purpose, which the check must find. Prints the verdict as JSON; exit code 1 if anything grew.
import { openSync, readdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { native } from '../../dist/device/native.js';
import { decodePng, encodePng, evaluate, openDevice, PixelCNN, train } from '../../dist/index.js';

const { values } = parseArgs({
  options: { minutes: { type: 'string' }, seconds: { type: 'string' }, plant: { type: 'string' } },
});
const seconds = values.minutes === undefined ? Number(values.seconds ?? 30) : 60 * Number(values.minutes);
/** The resident set may grow by this number of MiB after warm-up. */
const allowedGrowth = 16;
setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc');
const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

let state = 1;
const random = (below) => {
  state = (Math.imul(state, 1103515245) + 12345) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};
const randomImages = (count, size) => ({
  data: Uint8Array.from({ length: count * size * size }, () => random(256)),
  count,
  height: size,
  width: size,
  channels: 1,
});

/** Calls a function that must be refused with a code. A call that works, or an error without a code, ends the soak. */
async function refused(call) {
  const outcome = await Promise.resolve()
    .then(call)
    .then(
      () => 'worked',
      (error) => (typeof error?.code === 'string' ? 'refused' : error),
    );
  if (outcome !== 'refused')
    throw new Error(`a malformed call was not refused: ${outcome?.stack ?? outcome}`);
}

const options = { hiddenChannels: 8, layers: 4, levels: 8, kernelSize: 5 };
const device = await openDevice({ backend: 'cpu', threads: 2 });
const model = await PixelCNN.create(device, options);
const addon = native();
const png = encodePng({ data: new Uint8Array(64), width: 8, height: 8, channels: 1 });
const kept = [];

/** A worker that samples until it is terminated. */
const workerCode = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { parentPort } from 'node:worker_threads';
    import { openDevice, PixelCNN } from '${new URL('../../dist/index.js', import.meta.url)}';
    const device = await openDevice({ backend: 'cpu', threads: 2 });
    const model = await PixelCNN.create(device, ${JSON.stringify(options)});
    parentPort.postMessage('ready');
    for (;;) await model.sample({ height: 16, width: 16 });
  `)}`,
);

const work = {
  async train() {
    const own = await PixelCNN.create(device, options);
    const run = train(own, randomImages(24, 8), { batchSize: 8, epochs: 2, validation: 0.25, samples: 1 });
    for await (const _event of run);
    await own.dispose();
  },
  sample: () => model.sample({ count: 1 + random(5), height: 4 + random(8), width: 4 + random(8) }),
  evaluate: () => evaluate(model, randomImages(10, 8)),
  logits: () => model.logits(randomImages(3, 8)),
  complete: () => model.complete({ images: randomImages(2, 8), known: new Uint8Array(128).fill(1, 0, 40) }),
  async stream() {
    for await (const frame of model.sampleStream({ height: 8, width: 8 })) if (frame.step > 10) break;
  },
  async abort() {
    const controller = new AbortController();
    const call = model.sample({ count: 16, height: 28, width: 28, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), random(20));
    await call.catch((error) => {
      if (error.message !== 'enough') throw error;
    });
  },
  async dispose() {
    const own = await openDevice({ backend: 'cpu', threads: 2 });
    const call = (await PixelCNN.create(own, options)).sample({ count: 8, height: 28, width: 28 });
    call.catch(() => undefined);
    await sleep(random(10));
    await own.dispose();
  },
  async malformed() {
    const broken = png.slice(0, random(png.length - 12)); // without IEND alone it is read
    await refused(() => decodePng(broken));
    await refused(() =>
      PixelCNN.load(
        device,
        Uint8Array.from({ length: random(200) }, () => random(256)),
      ),
    );
    await refused(() => model.sample({ height: -1, width: random(9) }));
    await refused(() => model.logits({ ...randomImages(1, 8), height: 9 }));
    const commands = Int32Array.from({ length: random(40) }, () => random(2 ** 32) | 0);
    await refused(() => addon.createProgram(commands, [], new Int32Array(0), new Int32Array(0)));
  },
  async worker() {
    if (random(10) > 0) return;
    const worker = new Worker(workerCode);
    const exit = new Promise((resolve) => worker.once('exit', resolve));
    // Its imports are done by then: Node leaves files open when a worker ends in the middle of them.
    await new Promise((resolve) => worker.once('message', resolve));
    await sleep(random(50));
    await worker.terminate();
    await exit;
  },
};

const warmUp = seconds / 5;
const between = Math.max(1, seconds / 200);
// 64 MiB in all, a device or a file each time.
const plants = {
  memory: async () => kept.push(new Uint8Array((2 ** 26 * between) / (seconds - warmUp)).fill(1)),
  threads: async () => kept.push(await openDevice({ backend: 'cpu', threads: 2 })),
  handles: async () => kept.push(openSync('/dev/null')),
};

function measure() {
  collectGarbage();
  return {
    mebibytes: process.memoryUsage.rss() / 2 ** 20,
    threads: readdirSync('/proc/self/task').length,
    handles: readdirSync('/proc/self/fd').length,
  };
}

const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const start = performance.now();
const elapsed = () => (performance.now() - start) / 1000;
const samples = [];
const counts = {};
let [due, told] = [0, 0];
while (elapsed() < seconds) {
  const names = Object.keys(work);
  const name = names[random(names.length)];
  await work[name]();
  counts[name] = (counts[name] ?? 0) + 1;
  if (elapsed() < due) continue;
  due = elapsed() + between;
  if (elapsed() > warmUp && values.plant !== undefined) await plants[values.plant]();
  // Threads of a worker or of a disposed device end a moment later.
  await sleep(50);
  const now = { second: Math.round(elapsed()), ...measure() };
  if (elapsed() > warmUp) samples.push(now);
  if (now.second >= told + 60) {
    told = now.second;
    process.stderr.write(`${JSON.stringify(now)}\n`);
  }
}
const tenth = Math.max(3, Math.floor(samples.length / 10));
const medianOf = (part, key) => median(part.map((sample) => sample[key]));
const growth = (key) => medianOf(samples.slice(-tenth), key) - medianOf(samples.slice(0, tenth), key);
const verdict = {
  seconds,
  counts,
  samples: samples.length,
  first: samples[0],
  last: samples.at(-1),
  growth: { mebibytes: growth('mebibytes'), threads: growth('threads'), handles: growth('handles') },
};
const grew = [
  ...(verdict.growth.mebibytes > allowedGrowth ? ['memory'] : []),
  ...['threads', 'handles'].filter((key) => verdict.growth[key] !== 0),
];
process.stdout.write(`${JSON.stringify({ ...verdict, grew })}\n`);
await device.dispose();
process.exitCode = grew.length > 0 ? 1 : 0;
