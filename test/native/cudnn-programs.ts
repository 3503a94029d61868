// Runs the native test programs of cuda/cudnn/, which need no GPU.
import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const root = fileURLToPath(new URL('../../', import.meta.url));
const build = join(root, 'build');
/** A library that passes for cuDNN when it is looked for. */
export const fakeCudnn = join(build, 'libcudnn_fake.so');
/** The folder of the cuDNN that `npm run setup` fetches for tests. */
export const fetchedCudnn = join(root, '.cuda', 'nvidia', 'cudnn', 'lib');
export const cudnn = process.env.PIXELCNN_CUDNN ?? fetchedCudnn;

/** Why there are no such programs; undefined where there are. */
export const notBuilt = existsSync(join(build, 'cudnn_plans_test'))
  ? undefined
  : 'no nvcc or cuDNN headers when this was built: node scripts/build/fetch-cuda.mjs, then node scripts/build/setup.mjs --tests';

/** A new folder, removed after the tests of the file. */
export function emptyFolder(parent = tmpdir()): string {
  const folder = mkdtempSync(join(parent, 'pixelcnn-cudnn-'));
  folders.push(folder);
  return folder;
}
const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

export interface ProgramEnd {
  /** Exit code, or the signal that ended it. */
  readonly code: number | string;
  readonly output: string;
}

/** Runs a test program with a stand-in for the driver, without settings of this machine. */
export function run(
  program: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ProgramEnd> {
  const { VIRTUAL_ENV: _, CONDA_PREFIX: __, PIXELCNN_CUDNN: ___, ...inherited } = process.env;
  const options = {
    env: { ...inherited, LD_LIBRARY_PATH: join(build, 'driver-standin'), ...env },
    maxBuffer: 1 << 26,
  };
  return new Promise((resolve) => {
    execFile(join(build, program), args, options, (error, stdout, stderr) => {
      resolve({
        code: error === null ? 0 : (error.signal ?? error.code ?? 'unknown'),
        output: stdout + stderr,
      });
    });
  });
}
