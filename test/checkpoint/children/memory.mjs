// Loads files as models and reports the results and the growth of the peak memory. Arguments: paths of files.
//
// With --trust-header as the first argument, it behaves like a reader that allocates the stated length of the
// header before any check.
import { readFile } from 'node:fs/promises';
import { openDevice, PixelCNN, PixelCnnError } from '../../../dist/index.js';

const plant = process.argv[2] === '--trust-header';
const [valid, ...paths] = process.argv.slice(plant ? 3 : 2);
const device = await openDevice({ backend: 'cpu', threads: 1 });

async function verdict(path) {
  try {
    if (plant) {
      const prefix = (await readFile(path)).subarray(0, 8);
      const stated = prefix.length < 8 ? 0n : prefix.readBigUInt64LE();
      if (stated <= 100_000_000n) new Uint8Array(Number(stated)).fill(1);
    }
    await (await PixelCNN.load(device, path)).dispose();
    return 'accept';
  } catch (error) {
    return error instanceof PixelCnnError ? error.code : `foreign: ${error}`;
  }
}

const verdicts = { [valid]: await verdict(valid) };
for (let i = 0; i < 20; i += 1) await verdict(valid);
const before = process.resourceUsage().maxRSS;
for (const path of paths) verdicts[path] = await verdict(path);
const megabytes = (process.resourceUsage().maxRSS - before) / 1024;
await device.dispose();
console.log(JSON.stringify({ megabytes, verdicts }));
