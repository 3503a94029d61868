// Tests power cuts, which kill -9 does not show, on a simulated disk that keeps for sure only what was synced.
import { describe, expect, it } from 'vitest';
import {
  type AtomicFileHandle,
  type AtomicFileSystem,
  writeFileAtomic,
} from '../../src/checkpoint/atomic-file.js';

/** A file's bytes as programs see them, and as they are on the disk for sure. */
interface Inode {
  cached: Uint8Array;
  durable: Uint8Array;
}

type Folder = Map<string, Inode>;

/** What a simulated disk may forget. */
interface DiskFaults {
  readonly ignoreFileSync?: boolean;
  readonly ignoreFolderSync?: boolean;
}

/** One folder. Changes of names reach the disk in order but late, bytes of files in any order with them. */
class SimulatedDisk implements AtomicFileSystem {
  readonly #faults: DiskFaults;
  #durable: Folder = new Map();
  /** The folder after each change since its last sync. */
  #changes: Folder[] = [];
  /** What the disk may hold after a power cut at any time so far; `saved` tells whether the save was acknowledged. */
  readonly afterCut: { readonly contents: (string | undefined)[]; readonly when: string }[] = [];

  constructor(path: string, content: string | null, faults: DiskFaults = {}) {
    this.#faults = faults;
    if (content === null) return;
    const bytes = Buffer.from(content);
    this.#durable.set(path, { cached: bytes, durable: bytes });
  }

  get #folder(): Folder {
    return this.#changes.at(-1) ?? this.#durable;
  }

  #change(edit: (folder: Folder) => void): void {
    const next = new Map(this.#folder);
    edit(next);
    this.#changes.push(next);
  }

  /** All that `path` may hold after a cut now: any number of name changes, and of unsynced bytes none, half or all. */
  contentsAfterCut(path: string): (string | undefined)[] {
    return [this.#durable, ...this.#changes].flatMap((folder) => {
      const inode = folder.get(path);
      if (inode === undefined) return [undefined];
      const { cached, durable } = inode;
      const half = cached.subarray(0, Math.floor(cached.length / 2));
      return (cached === durable ? [durable] : [durable, half, cached]).map((bytes) =>
        Buffer.from(bytes).toString(),
      );
    });
  }

  #record(when: string, path: string): void {
    this.afterCut.push({ contents: this.contentsAfterCut(path), when });
  }

  async open(path: string, flags: string): Promise<AtomicFileHandle> {
    if (flags !== 'r') {
      const inode = { cached: new Uint8Array(0), durable: new Uint8Array(0) };
      this.#change((folder) => folder.set(path, inode));
    }
    this.#record('open', 'checkpoint');
    const inode = this.#folder.get(path);
    const done = (when: string) => this.#record(when, 'checkpoint');
    return {
      write: async (bytes, offset, length, position) => {
        if (inode === undefined) throw new Error('not a file');
        const grown = new Uint8Array(Math.max(inode.cached.length, position + length));
        grown.set(inode.cached);
        grown.set(bytes.subarray(offset, offset + length), position);
        inode.cached = grown;
        done('write');
        return { bytesWritten: length };
      },
      stat: async () => ({ size: inode?.cached.length ?? 0 }),
      chmod: async () => undefined,
      sync: async () => {
        if (inode !== undefined && !this.#faults.ignoreFileSync) inode.durable = inode.cached;
        if (inode === undefined && !this.#faults.ignoreFolderSync) {
          this.#durable = this.#folder;
          this.#changes = [];
        }
        done('sync');
      },
      close: async () => done('close'),
    };
  }

  async stat(path: string): Promise<{ mode: number }> {
    if (!this.#folder.has(path)) throw Object.assign(new Error(path), { code: 'ENOENT' });
    return { mode: 0o644 };
  }

  async realpath(path: string): Promise<string> {
    await this.stat(path);
    return path;
  }

  async rename(from: string, to: string): Promise<void> {
    this.#change((folder) => {
      folder.set(to, folder.get(from)!);
      folder.delete(from);
    });
    this.#record('rename', 'checkpoint');
  }

  async unlink(path: string): Promise<void> {
    this.#change((folder) => folder.delete(path));
  }
}

const [old, fresh] = ['the old checkpoint', 'the new checkpoint, which is longer'];

/** Saves on a simulated disk and tells what a power cut may leave that it must not. */
async function losses(
  faults: DiskFaults,
  before: string | null = old,
  save: (disk: SimulatedDisk) => Promise<void> = (disk) =>
    writeFileAtomic('checkpoint', Buffer.from(fresh), disk),
): Promise<string[]> {
  const disk = new SimulatedDisk('checkpoint', before, faults);
  await save(disk);
  const during = disk.afterCut.flatMap(({ contents, when }) =>
    contents
      .filter((content) => (content ?? null) !== before && content !== fresh)
      .map((content) => `cut after ${when}: ${content ?? 'no file'}`),
  );
  const after = disk
    .contentsAfterCut('checkpoint')
    .filter((content) => content !== fresh)
    .map((content) => `cut after the save: ${content ?? 'no file'}`);
  return [...during, ...after];
}

describe('a power cut', () => {
  it('at any call leaves the old file or the new one, after the save the new one', async () => {
    expect(await losses({})).toEqual([]);
  });

  it('at any call leaves no file or the whole one where there was none', async () => {
    expect(await losses({}, null)).toEqual([]);
    expect((await losses({ ignoreFileSync: true }, null)).length).toBeGreaterThan(0);
    expect(await losses({ ignoreFolderSync: true }, null)).toContain('cut after the save: no file');
  });

  it('would show a writer without fsync of the file', async () => {
    expect((await losses({ ignoreFileSync: true })).join()).toContain('cut after rename: the new');
  });

  it('would show a writer without fsync of the folder', async () => {
    expect(await losses({ ignoreFolderSync: true })).toContain(`cut after the save: ${old}`);
  });

  it('would show a writer that overwrites the file', async () => {
    const inPlace = async (disk: SimulatedDisk) => {
      const handle = await disk.open('checkpoint', 'w');
      await handle.write(Buffer.from(fresh), 0, fresh.length, 0);
      await handle.sync();
      await handle.close();
    };
    expect((await losses({}, old, inPlace)).length).toBeGreaterThan(0);
  });
});
