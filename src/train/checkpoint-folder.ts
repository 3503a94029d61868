// Keeps the checkpoints of a run in a folder: the last N step-XXXXXXXX.safetensors, and best.safetensors.
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { makeFolder, removeTemporaries, writeFileAtomic } from '../checkpoint/atomic-file.js';
import { FullDiskError } from '../checkpoint/full-disk.js';
import { decodeModel, type ModelFile } from '../checkpoint/model-file.js';
import { readFileBounded } from '../data/read-file.js';
import { PixelCnnError, systemError } from '../errors.js';
import type { SkippedCheckpoint } from './events.js';
import { FolderLock } from './folder-lock.js';
import { trainingState } from './training-state.js';

export const bestFile = 'best.safetensors';
const stepFile = /^step-(\d{8,})\.safetensors$/;

const nameOf = (step: number) => `step-${String(step).padStart(8, '0')}.safetensors`;

export class CheckpointFolder {
  readonly #path: string;
  readonly #keepLast: number;
  readonly #lock: FolderLock;
  /** Path of the best checkpoint if it is newer than all step checkpoints: see {@link continueFrom}. */
  #standIn: string | undefined;

  private constructor(path: string, keepLast: number, lock: FolderLock) {
    this.#path = path;
    this.#keepLast = keepLast;
    this.#lock = lock;
  }

  /**
   * Creates the folder if it does not exist, locks it and removes files that a crash left half written.
   * @throws PixelCnnError ERR_FOLDER_LOCKED while another run holds the lock.
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

  /** Releases the folder's lock. */
  close(): Promise<void> {
    return this.#lock.release();
  }

  /**
   * Saves a checkpoint durably as the best one. Returns its path, and the step checkpoints that were removed
   * to make room for it on a full disk. Call it before {@link saveStep}, so that a run which is killed
   * between the two finds the best checkpoint when it resumes.
   */
  async saveBest(bytes: Uint8Array): Promise<{ path: string; removed: string[] }> {
    return this.#write(bestFile, bytes);
  }

  /** Saves a checkpoint durably as that of a step, then removes all step checkpoints but the last N. */
  async saveStep(step: number, bytes: Uint8Array): Promise<{ path: string; removed: string[] }> {
    const written = await this.#write(nameOf(step), bytes);
    // The save has succeeded; a file that cannot be removed now is removed with a later save.
    await this.#removeOldest().catch(() => undefined);
    return written;
  }

  /** Finds the newest checkpoint of this folder, as {@link newestCheckpoint} does. */
  async newest(): Promise<NewestCheckpoint> {
    const newest = await newestCheckpoint(this.#path);
    if (newest.found?.path === join(this.#path, bestFile)) this.#standIn = newest.found.path;
    return newest;
  }

  /**
   * Makes the checkpoint of `step` the newest of the folder. Damaged newer ones are renamed to NAME.damaged,
   * so that they neither count among the last N nor are tried again.
   * @throws PixelCnnError ERR_FOLDER_IN_USE if there are newer checkpoints that are not damaged.
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

  /** Writes the step checkpoint that an interrupted save left out. The run can go on if that fails. */
  async #completeSave(step: number): Promise<void> {
    if (this.#standIn === undefined) return;
    const bytes = await readFileBounded(this.#standIn);
    await this.#write(nameOf(step), bytes).catch(() => undefined);
  }

  /** Writes a file. On a full disk it removes the oldest checkpoints, one at a time, until the file fits. */
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

  /**
   * Returns the oldest checkpoint if removing old ones frees enough space and the newest, which is kept, is
   * complete.
   */
  async #dispensable({ missing = 0 }: FullDiskError): Promise<string | undefined> {
    try {
      const [newest, ...older] = await stepsIn(this.#path);
      const sizes = await Promise.all(older.map(({ path }) => spaceOf(path)));
      const sum = sizes.reduce((total, size) => total + size, 0);
      if (newest === undefined || older.length === 0 || sum < missing) return undefined;
      await readTrainingCheckpoint(newest.path);
      return older.at(-1)!.path;
    } catch {
      return undefined; // remove nothing if any of this is uncertain
    }
  }

  async #removeOldest(): Promise<void> {
    for (const { path } of (await stepsIn(this.#path)).slice(this.#keepLast)) await rm(path, { force: true });
  }
}

export interface NewestCheckpoint {
  readonly found: { readonly path: string; readonly file: ModelFile } | undefined;
  /** Newer checkpoints, which are damaged. */
  readonly skipped: SkippedCheckpoint[];
}

/**
 * Finds the newest complete checkpoint in a folder. It is best.safetensors if a save was interrupted between
 * its two files, or if the disk had no room for the second one.
 * @throws PixelCnnError ERR_NO_CHECKPOINT if all are damaged. A checkpoint that cannot be read at the moment,
 * or not by this release (CKPT_VERSION), is not passed over as damaged: its error is thrown.
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

/** Returns the step and the path of the newest checkpoint in a folder, whether or not it is complete. */
export async function newestStep(folder: string): Promise<{ path: string; step: number } | undefined> {
  const [best, newest] = [await bestIn(folder), (await stepsIn(folder))[0]];
  return best !== undefined && best.step > (newest?.step ?? -1) ? best : newest;
}

/** Reads the best checkpoint in a folder and its step. Returns undefined if there is none or it is damaged. */
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

/** Lists the step checkpoints in a folder, newest first. */
export async function stepsIn(folder: string): Promise<{ path: string; step: number }[]> {
  const found = (await readdir(folder)).flatMap((name) => {
    const step = stepFile.exec(name)?.[1];
    return step === undefined ? [] : [{ path: join(folder, name), step: Number(step) }];
  });
  return found.sort((a, b) => b.step - a.step);
}

/** Returns the bytes that a file takes on its disk, in whole blocks of 512 bytes if the system reports blocks. */
async function spaceOf(path: string): Promise<number> {
  const { size, blocks } = await stat(path);
  return Math.max(size, blocks * 512);
}

/** Whether an error is due to the checkpoint's content, and not to the system that it is read on. */
function isDamage(error: unknown): boolean {
  if (!(error instanceof PixelCnnError) || error.code === 'CKPT_VERSION') return false;
  return /^CKPT_|^ERR_/.test(error.code) || error.code === 'EIO';
}

/** Reads and checks a checkpoint that train() can resume from. */
export async function readTrainingCheckpoint(path: string): Promise<ModelFile> {
  const file = decodeModel(await readFileBounded(path), {}, path);
  trainingState(file, path);
  return file;
}
