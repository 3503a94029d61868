// Tests that the events of a run are handled in order and before a checkpoint that follows, and that a failure ends it.
import { readFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { RunFolder } from '../../src/cli/run-folder.js';
import { Session } from '../../src/cli/session.js';
import { Terminal } from '../../src/cli/terminal.js';
import { trainFlags } from '../../src/cli/train-flags.js';
import { type Device, openDevice } from '../../src/device/device.js';
import { type ImageBatch, PixelCNN, train } from '../../src/index.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const temporary = temporaryFolder('session');
const config = { hiddenChannels: 4, layers: 3, levels: 2, kernelSize: 3 };
const images: ImageBatch = { data: new Uint8Array(8 * 16), count: 8, height: 4, width: 4, channels: 1 };

let device: Device;
beforeAll(async () => {
  device = await openDevice({ backend: 'cpu', threads: 1 });
});
afterAll(() => device.dispose());

async function sessionIn(name: string): Promise<{ session: Session; folder: RunFolder }> {
  const folder = await RunFolder.create(join(temporary, name));
  const options = { ...trainFlags.parse({ data: 'none', ...config, samples: 1 }), classes: undefined };
  return { session: new Session(options, folder, new Terminal({ quiet: true }), (text) => text), folder };
}

it('a checkpoint waits until what is written about the steps before it is on the disk', async () => {
  const { session, folder } = await sessionIn('slow');
  const { writeSamples } = folder;
  folder.writeSamples = async (...args) => {
    await setTimeout(100);
    return writeSamples.apply(folder, args);
  };
  await using model = await PixelCNN.create(device, config);
  const lines: string[] = [];
  const run = train(model, images, {
    epochs: 3,
    samples: 1,
    batchSize: 8,
    checkpointFolder: folder.checkpoints,
    onEvent: (event) => {
      session.receive(event);
      // The lines that are there when the checkpoint has just been saved.
      if (event.type === 'checkpoint') lines.push(readFileSync(join(folder.path, 'metrics.jsonl'), 'utf8'));
    },
  });
  const summary = await session.follow(run);
  await folder.close();
  expect(summary.steps).toBe(3);
  expect(lines).toHaveLength(3);
  lines.forEach((text, i) => {
    const types = text
      .trimEnd()
      .split('\n')
      .map((line) => `${JSON.parse(line).type} ${JSON.parse(line).step}`);
    expect(types.slice(-3)).toEqual([`step ${i + 1}`, `epoch ${i + 1}`, `sample ${i + 1}`]);
  });
});

it.each([
  ['begin', 1],
  ['writeConfig', 1],
  ['append', 1],
  ['append', 1e9],
] as const)(
  'an event whose %s fails ends the run, with checkpoints every %i steps',
  async (part, checkpointEvery) => {
    const { session, folder } = await sessionIn(`${part}-${checkpointEvery}`);
    const failure = new Error('of the folder');
    folder[part] = () => {
      throw failure;
    };
    await using model = await PixelCNN.create(device, config);
    const run = train(model, images, {
      epochs: 1_000_000,
      batchSize: 4,
      checkpointEvery,
      checkpointFolder: folder.checkpoints,
      onEvent: session.receive,
    });
    await expect(session.follow(run)).rejects.toBe(failure);
    await expect(run).rejects.toBe(failure);
    await folder.close();
    // No checkpoint is newer than what is written about its steps.
    expect((await readdir(folder.checkpoints)).filter((name) => name.startsWith('step'))).toEqual([]);
  },
);

it('a failure at the last event is not lost', async () => {
  const { session, folder } = await sessionIn('last');
  const failure = new Error('of the folder');
  await using model = await PixelCNN.create(device, config);
  const run = train(model, images, { steps: 1, batchSize: 4, onEvent: session.receive });
  folder.append = () => {
    throw failure;
  };
  await expect(session.follow(run)).rejects.toBe(failure);
  expect((await run).steps).toBe(1);
  await folder.close();
});

it('takes the events from the run, which would keep their images in memory', async () => {
  const { session, folder } = await sessionIn('taken');
  await using model = await PixelCNN.create(device, config);
  const run = train(model, images, { epochs: 3, samples: 1, batchSize: 8, onEvent: session.receive });
  await session.follow(run);
  await folder.close();
  const kept: string[] = [];
  for await (const { type } of run) kept.push(type);
  expect(kept).toEqual([]);
});
