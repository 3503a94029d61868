// Tests that a run which goes on in another precision, or on the CPU, says numericsChanged, and which algorithms of a GPU
// have the same name because they give the same bits.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Device, openDevice } from '../../src/device/device.js';
import { type TrainOptions, train } from '../../src/index.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { readTrainingCheckpoint } from '../../src/train/checkpoint-folder.js';
import { numericsOf } from '../../src/train/numerics.js';
import { openGpu } from '../helpers/cuda.js';
import { randomImages } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = temporaryFolder('gpu-numerics');
const images = randomImages(new TestRandom(7), 8, 6, 6, 1);

/** Trains up to a step, and returns what the run says of its numerics. */
async function run(device: Device, folder: string, steps: number, more: TrainOptions = {}) {
  const network = { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3, seed: 1 };
  await using model = await PixelCNN.create(device, network);
  const checkpointFolder = join(root, folder);
  const said: object[] = [];
  const options = { epochs: 100, batchSize: 4, resume: true, checkpointFolder, steps, ...more };
  for await (const event of train(model, images, options))
    if (event.type === 'numericsChanged') said.push(event);
  return said;
}

describe('a run on a GPU', () => {
  it('says once that it goes on in another precision, and then on the CPU', async () => {
    await using f32 = await openGpu({ precision: 'f32' });
    await using bf16 = await openGpu({ precision: 'bf16' });
    await using cpu = await openDevice({ backend: 'cpu' });
    const [first, second, third] = [f32, bf16, cpu].map((device) => numericsOf(device, 'auto'));
    expect(first!.sums).toBeGreaterThan(0);
    expect(second).toEqual({ ...first, precision: 'bf16' });
    expect(await run(f32, 'precision', 2)).toEqual([]);
    expect(await run(f32, 'precision', 3)).toEqual([]);
    const type = 'numericsChanged';
    expect(await run(bf16, 'precision', 4)).toEqual([{ type, step: 3, from: first, to: second }]);
    expect(await run(bf16, 'precision', 5)).toEqual([]);
    expect(await run(cpu, 'precision', 6)).toEqual([{ type, step: 5, from: second, to: third }]);
  });

  it('has the same bits with all algorithms that have one name', async () => {
    await using device = await openGpu();
    const algorithms = ['auto', 'winograd', 'direct'] as const;
    const trained = new Map<string, unknown[]>();
    for (const algorithm of algorithms) {
      const folder = `algorithm-${algorithm}`;
      await run(device, folder, 3, { algorithm });
      const newest = (await readdir(join(root, folder))).sort().at(-1)!;
      const { parameters } = await readTrainingCheckpoint(join(root, folder, newest));
      const name = numericsOf(device, algorithm).algorithm;
      trained.set(name, [...(trained.get(name) ?? []), [...parameters]]);
    }
    const shared = [...trained.values()].filter((runs) => runs.length > 1);
    expect(shared).not.toEqual([]);
    for (const [first, ...others] of shared) for (const other of others) expect(other).toEqual(first);
  });
});
