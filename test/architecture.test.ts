// Tests that docs/files.md lists every source file, and that every op has its files and its row in ARCHITECTURE.md.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { native } from '../src/device/native.js';
import { runCheck, sourceCopy } from './helpers/source-copy.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const copy = sourceCopy('files.md');

it('the file list is up to date, and a file that is not listed is noticed', () => {
  expect(runCheck(root, 'list-files').stderr).toBe('');
  expect(runCheck(copy, 'list-files').stderr).toBe('');
  writeFileSync(join(copy, 'src', 'stray.ts'), '// Nobody listed this file.\n');
  expect(runCheck(copy, 'list-files').stderr).toContain('does not list');
  writeFileSync(join(copy, 'src', 'stray.ts'), 'export {};\n');
  expect(runCheck(copy, 'list-files').stderr).toContain('first line must be a comment');
});

const opNames = () => native().opTable.map(({ name }) => name);

/** The ops that each file of src/ops records, by the file's stem. Files that record none are left out. */
function opsByStem(): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const file of readdirSync(join(root, 'src/ops'))) {
    const source = readFileSync(join(root, 'src/ops', file), 'utf8');
    const names = opNames().filter((name) => source.includes(`op: '${name}'`));
    if (names.length > 0) result.set(file.replace(/\.ts$/, ''), names);
  }
  return result;
}

/** Where the parts of an op are, by the name that it has in src/ops. */
function filesOf(stem: string): string[] {
  const kernel = stem.replaceAll('-', '_');
  return [`src/ops/${stem}.ts`, `native/cpu/${kernel}.cc`, `cuda/${kernel}.cu`, `test/ops/${stem}.test.ts`];
}

it('every op is recorded by a file of src/ops, which has kernels and a test of the same stem', () => {
  const ops = opsByStem();
  const missing = [...ops.keys()].flatMap(filesOf).filter((file) => !existsSync(join(root, file)));
  expect(missing).toEqual([]);
  expect([...ops.values()].flat().toSorted()).toEqual(opNames().toSorted());
});

/** What the table of ops in ARCHITECTURE.md lacks or has too much of. */
function faultsOfTable(text: string): string[] {
  const rows = new Map(
    [...text.matchAll(/^\| `[a-z].*$/gm)].map(([row]) => [/\(src\/ops\/(.*?)\.ts\)/.exec(row)?.[1], row]),
  );
  const ops = opsByStem();
  const faults = [...rows.keys()].filter((stem) => !ops.has(stem!)).map((stem) => `${stem} is no op file`);
  for (const [stem, names] of ops) {
    const row = rows.get(stem) ?? '';
    const needed = [...names.map((name) => `\`${name}\``), ...filesOf(stem).map((file) => `(${file})`)];
    faults.push(...needed.filter((part) => !row.includes(part)).map((part) => `${stem} lacks ${part}`));
  }
  return faults;
}

it('the table of ops in ARCHITECTURE.md has every op with links to its files', () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  expect(faultsOfTable(text)).toEqual([]);
  expect(faultsOfTable(text.replace(/^\| `adam`.*\n|^.*\(src\/ops\/adam\.ts\).*\n/m, ''))).toContain(
    'adam lacks (src/ops/adam.ts)',
  );
  expect(faultsOfTable(text.replace('(cuda/zero.cu)', '(cuda/sample.cu)'))).toEqual([
    'zero lacks (cuda/zero.cu)',
  ]);
  expect(faultsOfTable(text.replace('`nextFront`', '`next`'))).toEqual(['sample lacks `nextFront`']);
  const gone = '| `blur` | [blur.ts](src/ops/blur.ts) | | | |';
  expect(faultsOfTable(`${text}\n${gone}\n`)).toEqual(['blur is no op file']);
});
