// Locks a checkpoint folder, because two runs in one folder would remove each other's checkpoints.
import { randomBytes } from 'node:crypto';
import { readFileSync, readlinkSync } from 'node:fs';
import { constants, copyFile, link, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { temporaryName } from '../checkpoint/atomic-file.js';
import { PixelCnnError, systemError } from '../errors.js';

const fileName = 'run.lock';
const renewalMilliseconds = 10_000;
/** A lock of another machine that was not renewed for this long is taken to be left over. */
const staleMilliseconds = 60_000;

/**
 * Identifies the process that holds a lock. Node has no lock that ends with its process, so the file must say
 * enough to decide whether its owner still runs.
 */
interface Owner {
  readonly pid: number;
  /**
   * Start time of the process in the kernel's units; it distinguishes the process from a later one with the
   * same pid.
   */
  readonly started: string | null;
  /** Machine, its boot and its process namespace, within which `pid` has a meaning. */
  readonly place: string;
  /** Random; it distinguishes several locks of one process. */
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
   * Locks a folder until `release` or the end of the process, even by a crash. Others take over the lock of a
   * process that no longer runs at once, and that of another machine if it was not renewed for a minute.
   * @throws PixelCnnError ERR_FOLDER_LOCKED while another run holds the lock.
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

  /**
   * Removes the lock. It never fails: a lock that cannot be removed now is taken over after this process has ended.
   */
  async release(): Promise<void> {
    clearInterval(this.#renewal);
    if ((await textOf(this.#path)) === this.#text) await rm(this.#path).catch(() => undefined);
  }

  async #renew(): Promise<void> {
    const now = new Date();
    await utimes(this.#path, now, now).catch(() => undefined);
  }
}

/**
 * Creates `path` with the content of `source`, atomically if the file system has hard links. Returns false if
 * `path` exists already.
 */
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
 * Replaces a lock whose owner no longer runs by the file `own`. Returns false if that lock is no longer
 * there. If several processes try at once, only the one that creates the guard file replaces the lock:
 * without the guard, one process could remove the new lock of another.
 * @throws PixelCnnError ERR_FOLDER_LOCKED if the lock is in use, or another process is taking it over.
 */
async function takeOver(folder: string, path: string, own: string): Promise<boolean> {
  const stale = await staleText(folder, path);
  if (stale === undefined) return false;
  const guard = `${path}.guard`;
  if (!(await createExclusively(own, guard))) {
    // A guard whose owner still runs makes staleText throw; a stale one is left from a process that was
    // killed here.
    if ((await staleText(folder, guard)) !== undefined) await rm(guard, { force: true });
    return false;
  }
  try {
    if ((await textOf(path)) !== stale) return false;
    // Renaming is atomic, so there is no moment without a lock.
    await rename(own, path);
    return true;
  } finally {
    await rm(guard, { force: true });
  }
}

/**
 * Returns the content of a lock whose owner no longer runs, or undefined if there is no lock.
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

/** Returns the start time of a process, or undefined if it has ended or the system does not say. */
function startOf(pid: number): string | undefined {
  // The fields after the process name begin with its state; the 20th is its start in clock ticks since boot.
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

/** Returns the result of `call`, or undefined if the system has no such file. */
function read(call: () => string): string | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}
