// The lock of a checkpoint folder: two runs in one folder would remove each other's checkpoints.
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { constants, copyFile, link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { temporaryName } from '../checkpoint/atomic-file.js';
import { PixelCnnError, systemError } from '../errors.js';

const fileName = 'run.lock';
const renewalMilliseconds = 10_000;
/** A lock of another machine that was not renewed for so long belongs to nobody. */
const staleMilliseconds = 60_000;

/** Who holds a lock. Node has no lock that ends with its process, so the file must say enough to tell. */
interface Owner {
  readonly pid: number;
  /** When the process started, in the kernel's units; tells it from a later one of the same number. */
  readonly started: string | null;
  /** Machine, its boot and its process namespace: where `pid` means something. */
  readonly place: string;
  /** Tells locks of one process apart. */
  readonly nonce: string;
}

export class FolderLock {
  readonly #path: string;
  readonly #text: string;
  readonly #renewal: NodeJS.Timeout;

  private constructor(path: string, text: string) {
    this.#path = path;
    this.#text = text;
    this.#renewal = setInterval(() => void this.#renew(), renewalMilliseconds).unref();
  }

  /**
   * Locks a folder until `release` or the end of the process, however it ends: the lock of a process that is gone is
   * taken over at once, that of another machine when it was not renewed for a minute.
   * @throws PixelCnnError ERR_FOLDER_LOCKED, or the errno of a failed call.
   */
  static async acquire(folder: string): Promise<FolderLock> {
    const path = join(folder, fileName);
    const nonce = randomBytes(6).toString('hex');
    const owner: Owner = { pid: process.pid, started: startOf(process.pid) ?? null, place: place(), nonce };
    const text = JSON.stringify(owner);
    const own = temporaryName(path);
    try {
      await writeFile(own, text, { flag: 'wx' });
      let held = false;
      while (!held) held = (await createExclusively(own, path)) || (await takeOver(folder, path, own));
    } catch (cause) {
      throw systemError(`cannot lock ${folder}`, cause);
    } finally {
      await rm(own, { force: true });
    }
    return new FolderLock(path, text);
  }

  /** Never fails: a lock that cannot be removed is one of a process that will be gone. */
  async release(): Promise<void> {
    clearInterval(this.#renewal);
    if ((await textOf(this.#path)) === this.#text) await rm(this.#path).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const now = new Date();
    await utimes(this.#path, now, now).catch(() => undefined);
  }
}

/** Gives `path` the content of `source`, whole at once where there are hard links; false if it exists already. */
async function createExclusively(source: string, path: string): Promise<boolean> {
  const exists = (error: NodeJS.ErrnoException) => error.code === 'EEXIST';
  try {
    await link(source, path).catch((error) => {
      if (exists(error)) throw error;
      return copyFile(source, path, constants.COPYFILE_EXCL);
    });
    return true;
  } catch (error) {
    if (exists(error as NodeJS.ErrnoException)) return false;
    throw error;
  }
}

/**
 * Puts `own` in the place of a lock whose owner is gone; false if that lock is no longer there. Of many that try at
 * once, the one whose guard is there does it: without a guard, one could remove the new lock of another.
 * @throws PixelCnnError ERR_FOLDER_LOCKED if the lock is in use, or another process is taking it over.
 */
async function takeOver(folder: string, path: string, own: string): Promise<boolean> {
  const stale = await staleText(folder, path);
  if (stale === undefined) return false;
  const guard = `${path}.guard`;
  if (!(await createExclusively(own, guard))) {
    // Left by a process that was killed while it took over; otherwise this throws.
    if ((await staleText(folder, guard)) !== undefined) await rm(guard, { force: true });
    return false;
  }
  try {
    if ((await textOf(path)) !== stale) return false;
    // In one step, so that there is no moment without a lock.
    await rename(own, path);
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}

/**
 * What a lock says whose owner is gone; undefined where there is none.
 * @throws PixelCnnError ERR_FOLDER_LOCKED if it is in use.
 */
async function staleText(folder: string, path: string): Promise<string | undefined> {
  const text = await textOf(path);
  const stats = await stat(path).catch(() => undefined);
  if (text === undefined || stats === undefined) return undefined;
  const age = Date.now() - stats.mtimeMs;
  const owner = parseOwner(text);
  const here = owner?.place === place();
  if (owner !== undefined && here ? isRunning(owner) : age < staleMilliseconds) {
    const who =
      owner === undefined ? 'another run' : `process ${owner.pid}${here ? '' : ` of ${owner.place}`}`;
    throw new PixelCnnError(
      'ERR_FOLDER_LOCKED',
      `${folder} is in use by ${who}, whose lock is ${Math.round(age / 1000)} s old`,
      {
        remedy: here
          ? 'wait for that run to end, or train into another folder'
          : `train into another folder, or try again: the lock ends ${staleMilliseconds / 1000} s after that run`,
      },
    );
  }
  return text;
}

async function textOf(path: string): Promise<string | undefined> {
  return readFile(path, 'utf8').catch(() => undefined);
}

function parseOwner(text: string): Owner | undefined {
  try {
    const { pid, started, place, nonce } = JSON.parse(text) as Owner;
    const valid = Number.isSafeInteger(pid) && pid > 0 && typeof place === 'string';
    return valid ? { pid, started, place, nonce } : undefined;
  } catch {
    return undefined;
  }
}

function isRunning({ pid, started }: Owner): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false;
  }
  return started === null || startOf(pid) === started;
}

/** When a process started; undefined for one that has ended and where the system does not tell. */
function startOf(pid: number): string | undefined {
  // The fields after the name: state, …, and as the 20th the start in clock ticks since boot.
  const fields = read(() => readFileSync(`/proc/${pid}/stat`, 'utf8'))
    ?.replace(/^.*\) /s, '')
    .split(' ');
  return fields === undefined || /[ZX]/.test(fields[0]!) ? undefined : fields[19];
}

function place(): string {
  const boot = read(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim());
  const processes = read(() => readlinkSync('/proc/self/ns/pid'));
  return [hostname(), boot, processes].filter((part) => part !== undefined).join(' ');
}

/** The result of `call`, or undefined where the system has no such file. */
function read(call: () => string): string | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}
