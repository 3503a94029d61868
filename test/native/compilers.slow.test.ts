// Compiles the native sources with newer versions of g++ than this machine's: each version removes
// includes from its headers that sources may have relied on.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { findGcc } = (await import(`${root}scripts/build/gcc.mjs`)) as {
  findGcc: (version: number) => { readonly command?: readonly string[]; readonly reason?: string };
};
const { findNvcc, toolkitOf } = (await import(`${root}scripts/kernel-gates/nvcc.mjs`)) as {
  findNvcc: () => { readonly path?: string; readonly reason?: string };
  toolkitOf: (path: string) => { readonly include: string };
};

const nvcc = findNvcc();
const cudnn = join(root, '.cuda', 'nvidia', 'cudnn', 'include');
const noCudnn =
  nvcc.reason ??
  (existsSync(cudnn) ? undefined : 'no headers of cuDNN: node scripts/build/fetch-cuda.mjs cudnn');
const filesOf = (folder: string, ending: string) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name}`);

const node = ['node-api-headers/include', 'node-addon-api'].map((name) => join(root, 'node_modules', name));
const defines = [
  'NAPI_VERSION=8',
  'NODE_ADDON_API_CPP_EXCEPTIONS_ALL',
  'PIXELCNN_ISA=baseline',
  'PIXELCNN_HAS_BASELINE',
];
const groups = [
  {
    name: 'the addon and the kernels of the CPU',
    files: [...filesOf('native', '.cc'), ...filesOf('native/cpu', '.cc')],
    flags: [...node.flatMap((folder) => ['-isystem', folder]), ...defines.map((define) => `-D${define}`)],
    reason: undefined,
  },
  {
    name: 'what calls cuDNN',
    files: filesOf('cuda/cudnn', '.cc'),
    flags: noCudnn === undefined ? ['-isystem', toolkitOf(nvcc.path!).include, '-isystem', cudnn] : [],
    reason: noCudnn,
  },
  {
    name: 'the GPU backend, for the emulator',
    files: filesOf('cuda', '.cu'),
    flags: [`-I${root}test/native/cuda_emulator`, '-Wno-unknown-pragmas'],
    reason: undefined,
  },
];

function compile(command: readonly string[], flags: readonly string[], file: string): string {
  const args = [...command.slice(1), ...flags, resolve(root, file)];
  const run = spawnSync(command[0]!, args, { cwd: root, encoding: 'utf8' });
  const output = run.stdout + run.stderr;
  return run.status === 0 ? output : output || `it ended with ${run.status ?? run.signal}`;
}

describe.each([13, 14])('g++ %i', (version) => {
  const gcc = findGcc(version);
  const command = gcc.command ?? [];
  const skip = skipAloud(`sources by g++ ${version}`, gcc.reason);

  for (const { name, files, flags, reason } of groups) {
    describe.skipIf(skip || skipAloud(`${name} by g++ ${version}`, reason))(
      name,
      { timeout: 120_000 },
      () => {
        it.each(files)('%s', (file) => expect(compile(command, flags, file)).toBe(''));
      },
    );
  }

  describe.skipIf(skip)('a planted source', () => {
    const folder = temporaryFolder('compilers');
    const planted = join(folder, 'planted.cc');

    it('a type of <cstdint>, which <string> brought along until GCC 12', () => {
      writeFileSync(planted, '#include <string>\nstd::uint64_t number();\n');
      expect(compile(command, [], planted)).toContain('uint64_t');
    });

    it('nothing is left beside a source', () => {
      writeFileSync(planted, 'int number();\n');
      expect(compile(command, [], planted)).toBe('');
      expect(readdirSync(folder)).toEqual(['planted.cc']);
    });

    // GCC 13 still finds it. Without headers of cuDNN the reason is printed above.
    if (version === 14 && noCudnn === undefined)
      it('std::find without <algorithm>', () => {
        const text = readFileSync(join(root, 'cuda/cudnn/plans.cc'), 'utf8');
        writeFileSync(planted, text.replace('#include <algorithm>\n', ''));
        const output = compile(command, [...groups[1]!.flags, '-iquote', join(root, 'cuda/cudnn')], planted);
        expect(output).toContain('no matching function for call to ‘find(');
      });
  });
});
