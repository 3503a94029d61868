// ARCHITECTURE.md lists every source file once, and the op table's stems exist in every layer.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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
  const stems = ['adam', 'masked-conv2d', 'quantise', 'random', 'sample', 'softmax-cross-entropy'];
  const found = new Set<string>();
  for (const stem of stems) {
    const kernel = join(root, 'native/cpu', `${stem.replaceAll('-', '_')}.cc`);
    const op = join(root, 'src/ops', `${stem}.ts`);
    for (const file of [kernel, op, join(root, 'test/ops', `${stem}.test.ts`)])
      expect(existsSync(file), file).toBe(true);
    const source = readFileSync(op, 'utf8');
    for (const name of native().opNames) if (source.includes(`name: '${name}'`)) found.add(name);
  }
  expect([...native().opNames].filter((name) => !found.has(name))).toEqual([]);
});
