// Finds the built package and its binaries, and makes copies of it for tests that damage or build it.
import { cpSync, existsSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll } from 'vitest';
import { temporaryFolder } from './temporary-folder.js';

/** The repository's root. */
export const packageRoot = fileURLToPath(new URL('../..', import.meta.url));

/**
 * Before the tests of a file, copies `parts` of the package (files or folders at its root) into a new temporary folder,
 * with a link to node_modules. Returns the folder.
 */
export function packageCopy(name: string, parts: readonly string[]): string {
  const folder = join(temporaryFolder(name), 'pixelcnn');
  beforeAll(() => {
    for (const part of parts) cpSync(join(packageRoot, part), join(folder, part), { recursive: true });
    symlinkSync(join(packageRoot, 'node_modules'), join(folder, 'node_modules'));
  });
  return folder;
}

/** Fails unless the binaries of the package were built. */
export function requirePrebuilds(): void {
  if (!existsSync(join(packageRoot, 'prebuilds/manifest.json')))
    throw new Error('prebuilds/ is missing: run `npm run prebuild`');
}
