// Tests that paths which are no regular files are refused and never block.
import { spawnSync } from 'node:child_process';
import { mkdtemp, open, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readFileBounded } from '../../src/data/read-file.js';
import { PixelCnnError } from '../../src/errors.js';

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-read-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const at = (name: string) => join(folder, name);

async function codeOf(path: string, maxBytes?: number): Promise<unknown> {
  const error = await readFileBounded(path, maxBytes).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(PixelCnnError);
  expect((error as PixelCnnError).message).toContain(path.slice(0, 40));
  return (error as PixelCnnError).code;
}

describe('readFileBounded', () => {
  it('reads a file, up to its limit exactly', async () => {
    await writeFile(at('file'), 'content');
    expect(Buffer.from(await readFileBounded(at('file'), 7)).toString()).toBe('content');
    expect(await codeOf(at('file'), 6)).toBe('ERR_LIMIT');
    await writeFile(at('empty'), '');
    expect((await readFileBounded(at('empty'))).length).toBe(0);
  });

  it('refuses what is missing, a folder, a loop of links and impossible names', async () => {
    expect(await codeOf(at('missing'))).toBe('ENOENT');
    expect(await codeOf(folder)).toBe('ERR_NOT_A_FILE');
    await symlink('loop', at('loop'));
    expect(await codeOf(at('loop'))).toBe('ELOOP');
    expect(await codeOf(at('x'.repeat(4097)))).toBe('ENAMETOOLONG');
    expect(await codeOf('a\0b')).toBe('ERR_INVALID_ARG_VALUE');
    expect(await codeOf('')).toBe('ENOENT');
  });

  it.runIf(process.platform === 'linux')('refuses devices and pipes, without waiting', async () => {
    expect(await codeOf('/dev/zero')).toBe('ERR_NOT_A_FILE');
    expect(spawnSync('mkfifo', [at('pipe')]).status).toBe(0);
    expect(await codeOf(at('pipe'))).toBe('ERR_NOT_A_FILE');
  });

  it('a file that shrinks while it is read is an error or what it was', async () => {
    const size = 2 ** 28; // a sparse file that is read in several pieces
    await (await open(at('shrinking'), 'w')).close();
    const outcomes = new Set<string>();
    for (const delay of [0, 1, 5, 20, 60]) {
      await truncate(at('shrinking'), size);
      const reading = readFileBounded(at('shrinking')).then(
        ({ length }) => (length === size || length === 10 ? 'whole' : `${length} bytes`),
        (error: PixelCnnError) => error.code,
      );
      await new Promise((resolve) => setTimeout(resolve, delay));
      await truncate(at('shrinking'), 10);
      outcomes.add(await reading);
    }
    for (const outcome of outcomes) expect(['whole', 'ERR_IO']).toContain(outcome);
  });
});
