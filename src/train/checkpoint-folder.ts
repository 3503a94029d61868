// The checkpoints of a run: step-00000100.safetensors …, the last N of them, and best.safetensors.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeFileAtomic } from '../checkpoint/atomic-file.js';
import { decodeModel, encodeModel, type ModelFile } from '../checkpoint/model-file.js';
import { readFileBounded } from '../data/read-file.js';
import { PixelCnnError } from '../errors.js';

const stepFile = /^step-(\d{8,})\.safetensors$/;
const temporaryFile = /\.safetensors\.tmp-(\d+)-[0-9a-f]+$/;

export class CheckpointFolder {
  readonly #path: string;
  readonly #keepLast: number;

  private constructor(path: string, keepLast: number) {
    this.#path = path;
    this.#keepLast = keepLast;
  }

  /** Creates the folder if need be and removes what dead processes left half written. */
  static async open(path: string, keepLast: number): Promise<CheckpointFolder> {
    await mkdir(path, { recursive: true });
    for (const name of await readdir(path)) {
      const owner = temporaryFile.exec(name)?.[1];
      if (owner !== undefined && !isAlive(Number(owner))) await rm(join(path, name), { force: true });
    }
    return new CheckpointFolder(path, keepLast);
  }

  /** Saves a step durably, then removes the oldest beyond the last N. Returns the file's path. */
  async save(step: number, file: ModelFile, best: boolean): Promise<string> {
    const bytes = encodeModel(file);
    const path = join(this.#path, `step-${String(step).padStart(8, '0')}.safetensors`);
    await writeFileAtomic(path, bytes);
    if (best) await writeFileAtomic(join(this.#path, 'best.safetensors'), bytes);
    for (const old of (await this.#steps()).slice(this.#keepLast)) await rm(old, { force: true });
    return path;
  }

  /** The newest complete checkpoint, and the newer ones that are not. */
  async newest(): Promise<{
    found: { path: string; file: ModelFile } | undefined;
    skipped: { path: string; reason: string }[];
  }> {
    const skipped: { path: string; reason: string }[] = [];
    for (const path of await this.#steps()) {
      try {
        return { found: { path, file: await readTrainingCheckpoint(path) }, skipped };
      } catch (error) {
        skipped.push({ path, reason: error instanceof Error ? error.message : String(error) });
      }
    }
    return { found: undefined, skipped };
  }

  /** Paths of the step checkpoints, newest first. */
  async #steps(): Promise<string[]> {
    const names = (await readdir(this.#path)).filter((name) => stepFile.test(name));
    const step = (name: string) => Number(stepFile.exec(name)![1]);
    return names.sort((a, b) => step(b) - step(a)).map((name) => join(this.#path, name));
  }
}

/** Reads a checkpoint that train() can resume from. @throws PixelCnnError CKPT_*. */
export async function readTrainingCheckpoint(path: string): Promise<ModelFile> {
  const file = decodeModel(await readFileBounded(path), {}, path);
  if (file.training === undefined || file.average === undefined) {
    throw new PixelCnnError('CKPT_NO_TRAINING_STATE', `${path} holds a model but no state to resume from`);
  }
  return file;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
