// Tests what a run does with the checkpoints it finds: it takes the newest whole one, sets damaged ones aside,
// never mixes runs.
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { type TrainOptions, train } from '../../src/index.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import type { TrainEvent } from '../../src/train/events.js';
import { FolderLock } from '../../src/train/folder-lock.js';
import { testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const device = testDevice({ threads: 1 });
const images: ImageBatch = {
  data: new TestRandom(3).bytes(20 * 16),
  count: 20,
  height: 4,
  width: 4,
  channels: 1,
};
const nameOf = (step: number) => `step-${String(step).padStart(8, '0')}.safetensors`;

let root = '';
let folder = '';
/** A folder with checkpoints of steps 3, 4 and 5. */
let template = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'pixelcnn-folder-'));
  template = join(root, 'template');
  await run({ steps: 5 }, template);
});
afterAll(() => rm(root, { recursive: true, force: true }));
beforeEach(async () => {
  folder = await mkdtemp(join(root, 'run-'));
  await cp(template, folder, { recursive: true });
});

async function run(options: TrainOptions, checkpointFolder = folder): Promise<TrainEvent[]> {
  const model = await PixelCNN.create(device(), { hiddenChannels: 4, layers: 2, levels: 2, kernelSize: 3 });
  const settings = { epochs: 1000, batchSize: 5, checkpointEvery: 1, checkpointFolder, ...options };
  const events: TrainEvent[] = [];
  try {
    for await (const event of train(model, images, settings)) events.push(event);
  } finally {
    await model.dispose();
  }
  return events;
}

const resumeOf = (events: readonly TrainEvent[]) => events.find((event) => event.type === 'resume');

describe('resuming', () => {
  it('frees the folder and leaves nothing but checkpoints', async () => {
    expect((await readdir(folder)).sort()).toEqual([nameOf(3), nameOf(4), nameOf(5)]);
  });

  it('passes over damaged checkpoints, says why, and sets them aside', async () => {
    await writeFile(join(folder, nameOf(5)), 'not a checkpoint');
    const damaged = await readFile(join(folder, nameOf(4)));
    damaged[damaged.length - 1]! ^= 1;
    await writeFile(join(folder, nameOf(4)), damaged);
    // With one checkpoint kept, the new one must stay, and not a damaged one with a higher number.
    const resumed = resumeOf(await run({ steps: 4, resume: true, keepLast: 1 }));
    expect(resumed?.step).toBe(3);
    expect(resumed?.skipped.map(({ path }) => path)).toEqual([
      join(folder, nameOf(5)),
      join(folder, nameOf(4)),
    ]);
    expect(resumed?.skipped[0]?.reason).toMatch(/is a text.*models are safetensors files/);
    expect(resumed?.skipped[1]?.reason).toMatch(/SHA-256/);
    expect((await readdir(folder)).sort()).toEqual([
      nameOf(4),
      `${nameOf(4)}.damaged`,
      `${nameOf(5)}.damaged`,
    ]);
    expect(resumeOf(await run({ steps: 5, resume: true }))?.skipped).toEqual([]);
  });

  it('passes over what is no file', async () => {
    await rm(join(folder, nameOf(5)));
    await mkdir(join(folder, nameOf(5)));
    expect(resumeOf(await run({ steps: 5, resume: true }))?.step).toBe(4);
  });

  it('does not start anew when all checkpoints are damaged', async () => {
    for (const step of [3, 4, 5]) await writeFile(join(folder, nameOf(step)), '');
    await expect(run({ steps: 6, resume: true })).rejects.toMatchObject({ code: 'ERR_NO_CHECKPOINT' });
    expect((await readdir(folder)).sort()).toEqual([nameOf(3), nameOf(4), nameOf(5)]);
  });

  it('does not go back when the newest may be whole and only cannot be opened', async () => {
    await rm(join(folder, nameOf(5)));
    await symlink(nameOf(5), join(folder, nameOf(5)));
    await expect(run({ steps: 6, resume: true })).rejects.toMatchObject({ code: 'ELOOP' });
  });

  it('takes the best checkpoint where the disk had no room for another of its step', async () => {
    const best = join(folder, 'best.safetensors');
    const bytes = await readFile(join(folder, nameOf(5)));
    await rename(join(folder, nameOf(5)), best);
    expect(resumeOf(await run({ steps: 5, resume: true }))).toMatchObject({ step: 5, path: best });
    // What the save could not write then is written now.
    expect((await readFile(join(folder, nameOf(5)))).equals(bytes)).toBe(true);
    for (const name of await readdir(folder)) if (name.startsWith('step-')) await rm(join(folder, name));
    // It is no folder for a new run either.
    await expect(run({ steps: 1 })).rejects.toMatchObject({ code: 'ERR_FOLDER_IN_USE' });
    expect(resumeOf(await run({ steps: 6, resume: true }))).toMatchObject({ step: 5, path: best });
    // From here on the step is the newer one again.
    expect(resumeOf(await run({ steps: 6, resume: true }))?.path).toBe(join(folder, nameOf(6)));
  });

  it('takes the newest step before an older or a damaged best checkpoint', async () => {
    const best = join(folder, 'best.safetensors');
    for (const content of [await readFile(join(folder, nameOf(3))), 'damaged']) {
      await writeFile(best, content);
      expect(resumeOf(await run({ steps: 5, resume: true }))?.path).toBe(join(folder, nameOf(5)));
    }
    await rm(best);
    await symlink('best.safetensors', best);
    await expect(run({ steps: 6, resume: true })).rejects.toMatchObject({ code: 'ELOOP' });
  });

  it('starts at the beginning in an empty folder', async () => {
    const events = await run({ steps: 1, resume: true }, join(root, 'empty', 'nested'));
    expect(resumeOf(events)).toBeUndefined();
    expect(await readdir(join(root, 'empty', 'nested'))).toEqual([nameOf(1)]);
  });

  it('removes what a crash left half written', async () => {
    const temporary = `${nameOf(6)}.tmp-${process.pid}-0123456789ab`;
    await writeFile(join(folder, temporary), 'half');
    await writeFile(join(folder, 'notes.tmp'), 'of a person');
    await run({ steps: 5, resume: true });
    expect(await readdir(folder)).not.toContain(temporary);
    expect(await readdir(folder)).toContain('notes.tmp');
  });
});

describe('a folder of another run', () => {
  it('is refused to a new run and to one resumed from an older checkpoint', async () => {
    const before = (await readdir(folder)).sort();
    const inUse = { code: 'ERR_FOLDER_IN_USE', message: expect.stringContaining('step 5') };
    await expect(run({ steps: 1 })).rejects.toMatchObject(inUse);
    await expect(run({ steps: 9, resume: join(folder, nameOf(4)) })).rejects.toMatchObject(inUse);
    expect((await readdir(folder)).sort()).toEqual(before);
    // So it is where the newest is the best one, whose save as a step was cut short.
    await rename(join(folder, nameOf(5)), join(folder, 'best.safetensors'));
    await expect(run({ steps: 9, resume: join(folder, nameOf(4)) })).rejects.toMatchObject(inUse);
    const elsewhere = await run({ steps: 5, resume: join(folder, nameOf(4)) }, join(root, 'elsewhere'));
    expect(resumeOf(elsewhere)?.step).toBe(4);
  });

  it('is refused while that run goes on', async () => {
    const lock = await FolderLock.acquire(folder);
    await expect(run({ steps: 9, resume: true })).rejects.toMatchObject({ code: 'ERR_FOLDER_LOCKED' });
    await lock.release();
    expect(resumeOf(await run({ steps: 5, resume: true }))?.step).toBe(5);
  });

  it('is free again after a run that failed', async () => {
    await rename(join(folder, nameOf(5)), join(folder, nameOf(4)));
    await writeFile(join(folder, nameOf(9)), 'x');
    await expect(run({ steps: 9, seed: 8, resume: true })).rejects.toMatchObject({ code: 'CKPT_MISMATCH' });
    expect(await readdir(folder)).not.toContain('run.lock');
  });
});
