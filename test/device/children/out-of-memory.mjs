// Makes calls that need more memory than the process may have, argv 2 rounds of them; then the model must work as
// before.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { widestLimits } from '../../../dist/device/limits.js';
import { native } from '../../../dist/device/native.js';
import { openDevice, PixelCNN, train } from '../../../dist/index.js';

const rounds = Number(process.argv[2]);
const device = await openDevice({ backend: 'cpu', threads: 2, limits: widestLimits });
const model = await PixelCNN.create(device, { hiddenChannels: 8, layers: 3, kernelSize: 3 });
const images = (count, size = 28) => ({
  data: new Uint8Array(count * size * size).fill(77),
  count,
  height: size,
  width: size,
  channels: 1,
});
const few = images(2);
const many = images(2000);
const expected = JSON.stringify([
  await model.logLikelihood(few),
  await model.sample({ height: 5, width: 5, seed: 3 }),
]);
const raw = native();
const rawDevice = await raw.openDevice('cpu', 0, 1, '');
const arena = await raw.allocateArena(rawDevice, 2 ** 30);

// 256 MiB more than now: ordinary work fits, what follows does not.
const status = readFileSync('/proc/self/status', 'utf8');
const limit = Number(/VmSize:\s+(\d+)/.exec(status)[1]) * 1024 + 2 ** 28;
execFileSync('prlimit', ['--pid', String(process.pid), `--as=${limit}:${limit}`]);

const hungry = {
  logits: () => model.logits(many),
  logitsOfLargeImage: () => model.logits(images(1, 1800)),
  sample: () => model.sample({ count: 65536, height: 128, width: 128 }),
  create: () => PixelCNN.create(device, { hiddenChannels: 512, layers: 7, kernelSize: 7 }),
  train: async () => train(model, many, { batchSize: 2000, steps: 1 }),
  threads: () => openDevice({ backend: 'cpu', threads: 1024 }),
  'raw allocateArena': () => raw.allocateArena(rawDevice, 2 ** 31),
  'raw readArena': () => raw.readArena(arena, 0, 2 ** 30),
  'raw writeArena': async () => raw.writeArena(arena, 0, new Uint8Array(2 ** 30)),
};
const codes = {};
const wrong = [];
for (let round = 0; round < rounds; round += 1) {
  for (const [name, call] of Object.entries(hungry)) {
    try {
      await call();
      wrong.push(`${name} worked`);
    } catch (error) {
      // The test's own array of 1 GiB fails before the addon is called.
      const code = name === 'raw writeArena' && error instanceof RangeError ? 'RangeError' : error.code;
      if (code === undefined) wrong.push(`${name}: ${error.stack}`);
      codes[`${name} ${code}`] = (codes[`${name} ${code}`] ?? 0) + 1;
    }
    const now = JSON.stringify([
      await model.logLikelihood(few),
      await model.sample({ height: 5, width: 5, seed: 3 }),
    ]);
    if (now !== expected) wrong.push(`after ${name} the model answers otherwise`);
  }
}
await device.dispose();
console.log(JSON.stringify({ codes, wrong }));
