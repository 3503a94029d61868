// ARCHITECTURE.md lists every source file once, and the op table's stems exist in every layer.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { native } from '../src/device/native.js';

const root = fileURLToPath(new URL('..', import.meta.url));

function checkList(folder: string) {
  return spawnSync(process.execPath, ['scripts/check/list-files.mjs', '--check'], {
    cwd: folder,
    encoding: 'utf8',
  });
}

it('the file list is up to date, and a file that is not listed is noticed', () => {
  expect(checkList(root).stderr).toBe('');
  const copy = mkdtempSync(join(tmpdir(), 'pixelcnn-list-'));
  try {
    for (const part of ['native', 'cuda', 'src', 'scripts', 'ARCHITECTURE.md']) {
      cpSync(join(root, part), join(copy, part), { recursive: true });
    }
    spawnSync('git', ['init', '-q'], { cwd: copy });
    expect(checkList(copy).status).toBe(0);
    writeFileSync(join(copy, 'src', 'stray.ts'), '// Nobody listed this.\n');
    expect(checkList(copy).stderr).toContain('does not list');
    writeFileSync(join(copy, 'src', 'stray.ts'), 'export {};\n');
    expect(checkList(copy).stderr).toContain('first line must be a comment');
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
});

it('every op has a kernel file, an op file and a test of the same stem', () => {
  const found = new Set<string>();
  for (const file of readdirSync(join(root, 'src/ops'))) {
    const source = readFileSync(join(root, 'src/ops', file), 'utf8');
    const names = native().opNames.filter((name) => source.includes(`name: '${name}'`));
    for (const name of names) found.add(name);
    if (names.length === 0) continue; // front.ts records no op
    const stem = file.replace(/\.ts$/, '');
    const kernel = stem.replaceAll('-', '_');
    for (const other of [`native/cpu/${kernel}.cc`, `cuda/${kernel}.cu`, `test/ops/${stem}.test.ts`])
      expect(existsSync(join(root, other)), other).toBe(true);
  }
  expect([...native().opNames].filter((name) => !found.has(name))).toEqual([]);
});
