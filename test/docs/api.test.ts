// Tests that docs/api is made from the docstrings as they are, and that every link in them leads somewhere.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const out = temporaryFolder('api');

function typedoc(...args: string[]) {
  const command = [join(root, 'node_modules/typedoc/bin/typedoc'), '--out', out, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

it('the committed reference is up to date', { timeout: 180_000 }, () => {
  const { status, output } = typedoc();
  expect(status, output).toBe(0);
  const committed = readFileSync(join(root, 'docs/api/README.md'), 'utf8');
  const made = readFileSync(join(out, 'README.md'), 'utf8');
  expect(committed === made, 'docs/api is stale: run `npm run docs`').toBe(true);
});

it('a link that leads nowhere is noticed', { timeout: 180_000 }, () => {
  const { status, output } = typedoc('--options', 'test/docs/typedoc.json');
  expect(output).toContain('nothingOfThisName');
  expect(status).not.toBe(0);
});
