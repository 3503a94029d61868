// The checkpoints of a run: step-00000100.safetensors …, the last N of them, and best.safetensors.
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder, removeTemporaries, writeFileAtomic } from '../checkpoint/atomic-file.js';
import { FullDiskError } from '../checkpoint/full-disk.js';
import { decodeModel, type ModelFile } from '../checkpoint/model-file.js';
import { readFileBounded } from '../data/read-file.js';
import { PixelCnnError, systemError } from '../errors.js';
import { FolderLock } from './folder-lock.js';
import { trainingState } from './training-state.js';

export const bestFile = 'best.safetensors';
const stepFile = /^step-(\d{8,})\.safetensors$/;

const nameOf = (step: number) => `step-${String(step).padStart(8, '0')}.safetensors`;

/** A checkpoint that was passed over, and why. */
export interface SkippedCheckpoint {
  readonly path: string;
  readonly reason: string;
}

export class CheckpointFolder {
  readonly #path: string;
  readonly #keepLast: number;
  readonly #lock: FolderLock;
  /** The best checkpoint, where it was found to be the newest. */
  #standIn: string | undefined;

  private constructor(path: string, keepLast: number, lock: FolderLock) {
    this.#path = path;
    this.#keepLast = keepLast;
    this.#lock = lock;
  }

  /**
   * Creates the folder if need be, locks it and removes what a crash left half written.
   * @throws PixelCnnError ERR_FOLDER_LOCKED, or the errno of a failed call.
   */
  static async open(path: string, keepLast: number): Promise<CheckpointFolder> {
    let lock: FolderLock | undefined;
    try {
      await makeFolder(path);
      lock = await FolderLock.acquire(path);
      await removeTemporaries(path);
      return new CheckpointFolder(path, keepLast, lock);
    } catch (cause) {
      await lock?.release();
      throw systemError(`cannot open the checkpoint folder ${path}`, cause);
    }
  }

  /** Lets others use the folder. */
  close(): Promise<void> {
    return this.#lock.release();
  }

  /**
   * Saves a checkpoint durably as the best one. Returns its path, and the step checkpoints that had to make room for it
   * on a full disk. It is saved before {@link saveStep}: a run cut short in between finds it best again.
   */
  async saveBest(bytes: Uint8Array): Promise<{ path: string; removed: string[] }> {
    return this.#write(bestFile, bytes);
  }

  /** The same as the checkpoint of a step, then removes the oldest beyond the last N. */
  async saveStep(step: number, bytes: Uint8Array): Promise<{ path: string; removed: string[] }> {
    const written = await this.#write(nameOf(step), bytes);
    // What cannot be removed now goes with a later save; this one has succeeded.
    await this.#removeOldest().catch(() => undefined);
    return written;
  }

  /** As {@link newestCheckpoint}. */
  async newest(): Promise<NewestCheckpoint> {
    const newest = await newestCheckpoint(this.#path);
    if (newest.found?.path === join(this.#path, bestFile)) this.#standIn = newest.found.path;
    return newest;
  }

  /**
   * Makes `step` the newest checkpoint of the folder: damaged newer ones are renamed to NAME.damaged, so that they
   * neither count as checkpoints to keep nor come up again.
   * @throws PixelCnnError ERR_FOLDER_IN_USE if there are newer ones that are not damaged.
   */
  async continueFrom(step: number, damaged: readonly SkippedCheckpoint[]): Promise<void> {
    for (const { path } of damaged) await rename(path, `${path}.damaged`);
    const [newest] = await stepsIn(this.#path);
    const best = await bestIn(this.#path);
    const latest = Math.max(newest?.step ?? 0, best?.step ?? 0);
    if (latest <= step) return this.#completeSave(step);
    const start = step === 0 ? 'a new run' : `a run resumed at step ${step}`;
    throw new PixelCnnError(
      'ERR_FOLDER_IN_USE',
      `${this.#path} holds checkpoints up to step ${latest}, which ${start} would mix with its own`,
      { remedy: 'resume the run they belong to (`resume`), or choose another `checkpointFolder`' },
    );
  }

  /** Writes the step that stands in the best checkpoint only. The run can go on without. */
  async #completeSave(step: number): Promise<void> {
    if (this.#standIn === undefined) return;
    const bytes = await readFileBounded(this.#standIn);
    await this.#write(nameOf(step), bytes).catch(() => undefined);
  }

  /** Writes a file. On a full disk the oldest checkpoints make room for it, one at a time. */
  async #write(name: string, bytes: Uint8Array): Promise<{ path: string; removed: string[] }> {
    const path = join(this.#path, name);
    const removed: string[] = [];
    for (;;) {
      try {
        await writeFileAtomic(path, bytes);
        return { path, removed };
      } catch (error) {
        const oldest = error instanceof FullDiskError ? await this.#dispensable(error) : undefined;
        if (oldest === undefined) throw error;
        await rm(oldest);
        removed.push(oldest);
      }
    }
  }

  /** The oldest checkpoint, if removing old ones can help and the newest, which stays, is whole. */
  async #dispensable({ missing = 0 }: FullDiskError): Promise<string | undefined> {
    try {
      const [newest, ...older] = await stepsIn(this.#path);
      const sizes = await Promise.all(older.map(({ path }) => spaceOf(path)));
      const sum = sizes.reduce((total, size) => total + size, 0);
      if (newest === undefined || older.length === 0 || sum < missing) return undefined;
      await readTrainingCheckpoint(newest.path);
      return older.at(-1)!.path;
    } catch {
      return undefined; // where anything is in doubt, nothing is removed
    }
  }

  async #removeOldest(): Promise<void> {
    for (const { path } of (await stepsIn(this.#path)).slice(this.#keepLast)) await rm(path, { force: true });
  }
}

export interface NewestCheckpoint {
  readonly found: { readonly path: string; readonly file: ModelFile } | undefined;
  /** Newer ones that are not complete. */
  readonly skipped: SkippedCheckpoint[];
}

/**
 * The newest complete checkpoint in a folder, if there is any. It may be the best one, where a save was cut short or
 * the disk had no room for the other file.
 * @throws PixelCnnError ERR_NO_CHECKPOINT if all are damaged; CKPT_VERSION or the errno of a failed read, when a
 * checkpoint may well be whole and only cannot be read now or by this release.
 */
export async function newestCheckpoint(folder: string): Promise<NewestCheckpoint> {
  const skipped: SkippedCheckpoint[] = [];
  const best = await bestIn(folder);
  for (const { path, step } of await stepsIn(folder)) {
    if (best !== undefined && best.step > step) break;
    try {
      return { found: { path, file: await readTrainingCheckpoint(path) }, skipped };
    } catch (error) {
      if (!isDamage(error)) throw error;
      skipped.push({ path, reason: (error as PixelCnnError).message });
    }
  }
  if (best !== undefined) return { found: best, skipped };
  const newest = skipped[0];
  if (newest === undefined) return { found: undefined, skipped };
  throw new PixelCnnError(
    'ERR_NO_CHECKPOINT',
    `none of the ${skipped.length} checkpoints in ${folder} can be read; the newest: ${newest.reason}`,
    { remedy: 'begin a new run in another folder' },
  );
}

/** The newest step that a folder holds a checkpoint of, and where. */
export async function newestStep(folder: string): Promise<{ path: string; step: number } | undefined> {
  const [best, newest] = [await bestIn(folder), (await stepsIn(folder))[0]];
  return best !== undefined && best.step > (newest?.step ?? -1) ? best : newest;
}

/** The best checkpoint in a folder and its step, if there is one that is not damaged. */
async function bestIn(folder: string): Promise<{ path: string; file: ModelFile; step: number } | undefined> {
  const path = join(folder, bestFile);
  try {
    const file = await readTrainingCheckpoint(path);
    return { path, file, step: trainingState(file, path).state.step };
  } catch (error) {
    if (isDamage(error) || (error as PixelCnnError).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** The step checkpoints in a folder, newest first. */
export async function stepsIn(folder: string): Promise<{ path: string; step: number }[]> {
  const found = (await readdir(folder)).flatMap((name) => {
    const step = stepFile.exec(name)?.[1];
    return step === undefined ? [] : [{ path: join(folder, name), step: Number(step) }];
  });
  return found.sort((a, b) => b.step - a.step);
}

/** Bytes that a file takes on its disk, in whole blocks of 512 where the system tells them. */
async function spaceOf(path: string): Promise<number> {
  const { size, blocks } = await stat(path);
  return Math.max(size, blocks * 512);
}

/** Whether a checkpoint is at fault, and not the system it is read on. */
function isDamage(error: unknown): boolean {
  if (!(error instanceof PixelCnnError) || error.code === 'CKPT_VERSION') return false;
  return /^CKPT_|^ERR_/.test(error.code) || error.code === 'EIO';
}

/** Reads a checkpoint that train() can resume from. @throws PixelCnnError CKPT_*, or the errno of a failed read. */
export async function readTrainingCheckpoint(path: string): Promise<ModelFile> {
  const file = decodeModel(await readFileBounded(path), {}, path);
  trainingState(file, path);
  return file;
}
