// Checkpoints on a full disk: older ones make room where that helps, and a whole one is always there.
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { PixelCNN, type TrainEvent, type TrainOptions, train } from '../../src/index.js';
import { CheckpointFolder, readTrainingCheckpoint } from '../../src/train/checkpoint-folder.js';
import { testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { onSmallDisk } from '../helpers/small-disk.js';

const device = testDevice({ threads: 1 });
const images: ImageBatch = {
  data: new TestRandom(3).bytes(20 * 16),
  count: 20,
  height: 4,
  width: 4,
  channels: 1,
};
const nameOf = (step: number) => `step-${String(step).padStart(8, '0')}.safetensors`;
const diskBytes = 2 ** 20;

/** A run that saves after every step. `each` sees its events. */
async function run(
  checkpointFolder: string,
  options: TrainOptions,
  each: (event: TrainEvent, stop: () => void) => unknown = () => undefined,
) {
  const model = await PixelCNN.create(device(), { hiddenChannels: 24, layers: 3, levels: 2, kernelSize: 3 });
  const events: TrainEvent[] = [];
  const settings = { epochs: 1000, batchSize: 5, checkpointEvery: 1, checkpointFolder, ...options };
  const training = train(model, images, settings);
  try {
    for await (const event of training) {
      events.push(event);
      await each(event, () => training.stop());
    }
    return { events, error: undefined };
  } catch (error) {
    return { events, error: error as Error & { code: string; remedy: string } };
  } finally {
    await model.dispose();
  }
}

const kinds = (events: readonly TrainEvent[], type: TrainEvent['type']) =>
  events.filter((event) => event.type === type);

/** Leaves `free` bytes on the disk. */
async function fill(disk: string, used: number, free: number): Promise<void> {
  await writeFile(join(disk, 'filler'), new Uint8Array(diskBytes - used - free));
}
const blocks = (bytes: number) => Math.ceil(bytes / 4096) * 4096;

describe('a run on a full disk', () => {
  it('keeps fewer checkpoints instead of failing, and the newest is whole at every moment', ({ skip }) =>
    onSmallDisk(diskBytes, skip, async (disk) => {
      const folder = join(disk, 'run');
      const first = await run(folder, { steps: 1, keepLast: 100 });
      expect(first.error).toBeUndefined();
      const size = (await readFile(join(folder, nameOf(1)))).length;
      await fill(disk, blocks(size), 3.5 * size);
      const { events, error } = await run(
        folder,
        { steps: 12, keepLast: 100, resume: true },
        async (event) => {
          if (event.type !== 'checkpoint') return;
          const names = (await readdir(folder)).filter((name) => name.startsWith('step-')).sort();
          await readTrainingCheckpoint(join(folder, names.at(-1)!));
        },
      );
      expect([error, kinds(events, 'checkpointFailed')]).toEqual([undefined, []]);
      const removed = events.flatMap((event) => (event.type === 'checkpoint' ? event.removed : []));
      // Always the oldest, one for one.
      expect(removed).toEqual(Array.from({ length: removed.length }, (_, i) => join(folder, nameOf(i + 1))));
      expect(removed.length).toBeGreaterThanOrEqual(8);
      expect((await readdir(folder)).filter((name) => name !== 'run.lock').sort()).toEqual(
        Array.from({ length: 12 - removed.length }, (_, i) => nameOf(removed.length + 1 + i)),
      );
    }));

  it('waits for space at its end, names the missing bytes, and saves when there is space', ({ skip }) =>
    onSmallDisk(diskBytes, skip, async (disk) => {
      const folder = join(disk, 'run');
      await mkdir(folder);
      await fill(disk, 0, 40_960);
      const { events, error } = await run(folder, { steps: 3 }, (event) =>
        event.type === 'waitingForDisk' ? truncate(join(disk, 'filler')) : undefined,
      );
      expect(error).toBeUndefined();
      expect(kinds(events, 'checkpointFailed').map(({ step }) => step)).toEqual([1, 2, 3]);
      const size = (await readFile(join(folder, nameOf(3)))).length;
      expect(kinds(events, 'waitingForDisk')).toMatchObject([
        { step: 3, code: 'ENOSPC', bytes: size, path: join(folder, nameOf(3)) },
      ]);
      const { missing } = kinds(events, 'waitingForDisk')[0] as { missing: number };
      // Beside the file stands the lock of the folder.
      expect(missing).toBeGreaterThanOrEqual(blocks(size) - 40_960);
      expect(missing).toBeLessThanOrEqual(blocks(size) - 40_960 + 2 * 4096);
      await readTrainingCheckpoint(join(folder, nameOf(3)));
    }));

  it.for(['stop', 'signal'] as const)('a %s ends the waiting with a last word', (how, { skip }) =>
    onSmallDisk(diskBytes, skip, async (disk) => {
      const folder = join(disk, 'run');
      const first = await run(folder, { steps: 2, keepLast: 1 });
      expect(first.error).toBeUndefined();
      const size = (await readFile(join(folder, nameOf(2)))).length;
      await fill(disk, blocks(size), 8192);
      const controller = new AbortController();
      const { events, error } = await run(
        folder,
        { steps: 5, keepLast: 1, resume: true, signal: controller.signal },
        (event, stop) => {
          if (event.type !== 'waitingForDisk') return;
          if (how === 'stop') stop();
          else controller.abort();
        },
      );
      expect(kinds(events, 'waitingForDisk').length).toBe(1);
      expect(error?.code).toBe('ENOSPC');
      expect(error?.message).toMatch(/^train: steps 3 to 5 are lost: cannot save .* bytes are missing/);
      expect(error?.remedy).toContain(`${join(folder, nameOf(2))} holds step 2`);
      // The only one is never removed.
      await readTrainingCheckpoint(join(folder, nameOf(2)));
    }),
  );
});

describe('making room', () => {
  /** Saves step 4 beside steps 1 to 3, with `free` bytes free. */
  async function saveFourth(
    disk: string,
    free: number,
    prepare: (folder: string) => Promise<void>,
    factor = 1,
  ) {
    const path = join(disk, 'run');
    await run(path, { steps: 3 });
    const bytes = await readFile(join(path, nameOf(3)));
    await prepare(path);
    await fill(disk, 3 * blocks(bytes.length), free);
    const folder = await CheckpointFolder.open(path, 10).catch((error: unknown) => error);
    if (!(folder instanceof CheckpointFolder)) throw folder;
    const large = new Uint8Array(bytes.length * factor);
    large.set(bytes);
    const result = await folder.saveStep(4, large).then(
      ({ removed }) => removed.length,
      (error: { code: string }) => error.code,
    );
    await folder.close();
    return { result, names: (await readdir(path)).filter((name) => name !== 'run.lock').sort() };
  }
  const nothing = async () => undefined;

  it('removes as many as needed', ({ skip }) =>
    onSmallDisk(diskBytes, skip, async (disk) => {
      const { result, names } = await saveFourth(disk, 8192, nothing);
      expect([result, names]).toEqual([1, [2, 3, 4].map(nameOf)]);
    }));

  it('removes nothing where all old ones together are too small', ({ skip }) =>
    onSmallDisk(diskBytes, skip, async (disk) => {
      const { result, names } = await saveFourth(disk, 8192, nothing, 3);
      expect([result, names]).toEqual(['ENOSPC', [1, 2, 3].map(nameOf)]);
    }));

  it('removes nothing where the newest is damaged', ({ skip }) =>
    onSmallDisk(diskBytes, skip, async (disk) => {
      const { result, names } = await saveFourth(disk, 8192, async (folder) => {
        const path = join(folder, nameOf(3));
        const bytes = await readFile(path);
        bytes[bytes.length - 1]! ^= 1;
        await writeFile(path, bytes);
      });
      expect([result, names]).toEqual(['ENOSPC', [1, 2, 3].map(nameOf)]);
    }));
});
