// Tests checkpoints on a full disk: older ones make room where that helps, and a whole one is always there.
import { mkdir, readdir, readFile, rm, statfs, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
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

describe('a best checkpoint on a full disk', () => {
  it('is the run, saved: a second file of its step is told of and no error', ({ skip }) =>
    onSmallDisk(diskBytes, skip, async (disk) => {
      const folder = join(disk, 'run');
      const best = join(folder, 'best.safetensors');
      const first = await run(folder, { steps: 4, validation: 0.2, keepLast: 1, checkpointEvery: 0 });
      expect(first.error).toBeUndefined();
      await rm(best);
      // Any validation to come is better than this one.
      const file = await readTrainingCheckpoint(join(folder, nameOf(4)));
      const { arrays, state } = file.training!;
      const bytes = encodeModel({ ...file, training: { arrays, state: { ...state, bestNats: 1e6 } } });
      await writeFile(join(folder, nameOf(4)), bytes);
      const size = bytes.length;
      // Room for one file beside that of step 4, and none for two.
      await fill(disk, blocks(size), blocks(size) + 3 * 4096);
      const options = { steps: 8, validation: 0.2, keepLast: 1, checkpointEvery: 0, resume: true } as const;
      const { events, error } = await run(folder, options);
      expect(error).toBeUndefined();
      const validation = kinds(events, 'validation').at(-1);
      expect(validation).toMatchObject({ step: 8, best: true });
      expect(kinds(events, 'checkpoint').at(-1)).toMatchObject({ step: 8, path: best });
      expect(kinds(events, 'checkpointFailed').at(-1)).toMatchObject({ step: 8, code: 'ENOSPC' });
      expect(kinds(events, 'waitingForDisk')).toEqual([]);
      const { training } = await readTrainingCheckpoint(best);
      expect(training!.state).toMatchObject({ step: 8, bestNats: (validation as { nats: number }).nats });
      // With room, the resumed run writes what the disk had no room for.
      await truncate(join(disk, 'filler'));
      expect((await run(folder, options)).error).toBeUndefined();
      expect((await readFile(join(folder, nameOf(8)))).equals(await readFile(best))).toBe(true);
    }));
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

  it('counts the blocks that old ones take, not only their bytes', ({ skip }) =>
    onSmallDisk(diskBytes, skip, async (disk) => {
      const path = join(disk, 'run');
      await run(path, { steps: 3 });
      const bytes = await readFile(join(path, nameOf(3)));
      expect(bytes.length % 4096).toBeGreaterThan(0);
      const folder = await CheckpointFolder.open(path, 10);
      // Both old ones together make just enough room, to the last block.
      const { bavail, bsize } = await statfs(disk);
      const large = new Uint8Array(bavail * bsize + 2 * blocks(bytes.length));
      large.set(bytes);
      const { removed } = await folder.saveStep(4, large);
      await folder.close();
      expect(removed).toEqual([join(path, nameOf(1)), join(path, nameOf(2))]);
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
