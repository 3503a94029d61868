// Copies the sources into a repository of their own, where a test may damage them and run the checks of scripts/check.
import { spawnSync } from 'node:child_process';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryFolder } from './temporary-folder.js';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** A folder with src, native, cuda, scripts and docs/NAME. It is removed after the tests of the file. */
export function sourceCopy(document: string): string {
  const folder = temporaryFolder('sources');
  for (const part of ['native', 'cuda', 'src', 'scripts', join('docs', document)])
    cpSync(join(root, part), join(folder, part), { recursive: true });
  spawnSync('git', ['init', '-q'], { cwd: folder });
  return folder;
}

/** Runs scripts/check/NAME.mjs of a copy with --check, or without. */
export function runCheck(folder: string, name: string, args: readonly string[] = ['--check']) {
  const command = [`scripts/check/${name}.mjs`, ...args];
  return spawnSync(process.execPath, command, { cwd: folder, encoding: 'utf8' });
}
