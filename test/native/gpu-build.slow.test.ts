// Tests the build of scripts/gpu-acceptance for a bare GPU machine, as far as that is possible without a
// GPU: with ninja but no make, a CUDA without nvtx headers, and an nvidia-smi that answers like an H100's.
// The build stays in build/, so that a second run compiles only what has changed.
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { findNvcc, toolkitOf } = (await import(`${root}scripts/kernel-gates/nvcc.mjs`)) as {
  findNvcc: () => { readonly path?: string; readonly reason?: string };
  toolkitOf: (path: string) => { readonly folder: string };
};
const { inspectElf } = (await import(`${root}scripts/build/elf.mjs`)) as {
  inspectElf: (file: string) => { readonly gpuArchitectures: string[] } | undefined;
};
const nvcc = findNvcc();
const ninja = spawnSync('ninja', ['--version']).status === 0 ? undefined : 'no ninja';

const temporary = temporaryFolder('gpu-build');
const copy = join(root, 'build', 'gpu-build');
const build = join(copy, 'build');

/** The repository as far as it is needed. Links, but scripts/ would take where a link leads to for the root. */
function copyRepository(): void {
  mkdirSync(copy, { recursive: true });
  for (const name of [
    'cuda',
    'native',
    'cmake',
    'test',
    'node_modules',
    'CMakeLists.txt',
    'package.json',
    '.cuda',
  ])
    if (existsSync(join(root, name)) && !existsSync(join(copy, name)))
      symlinkSync(join(root, name), join(copy, name));
  rmSync(join(copy, 'scripts'), { recursive: true, force: true });
  cpSync(join(root, 'scripts'), join(copy, 'scripts'), { recursive: true });
}

/** Links `to/NAME` to everything in a folder; what `descend` names becomes a folder of links, `leave` is not there. */
function link(from: string, to: string, descend: readonly string[], leave: readonly string[]): void {
  mkdirSync(to, { recursive: true });
  for (const name of readdirSync(from)) {
    if (leave.includes(name)) continue;
    const source = join(from, name);
    if (descend.includes(name) && statSync(source).isDirectory())
      link(source, join(to, name), descend, leave);
    else if (!existsSync(join(to, name))) symlinkSync(source, join(to, name));
  }
}

/** A copy of the toolkit without nvtx. nvcc looks for its parts beside the file that it is, so that one is no link. */
function cudaWithoutNvtx(): string {
  const toolkit = toolkitOf(nvcc.path!).folder;
  const folder = join(copy, 'cuda-without-nvtx');
  rmSync(folder, { recursive: true, force: true });
  link(toolkit, folder, ['bin', 'include', 'targets', 'x86_64-linux', 'sbsa-linux'], ['nvtx3', 'nvcc']);
  copyFileSync(join(toolkit, 'bin', 'nvcc'), join(folder, 'bin', 'nvcc'));
  return join(folder, 'bin', 'nvcc');
}

/** Variables for a machine without make, whose only CUDA is `compiler`. */
function bareMachine(compiler: string): NodeJS.ProcessEnv {
  const programs = join(copy, 'programs'); // the same in each run, for ninja compares commands
  const smi = join(programs, 'nvidia-smi');
  const makes = ['make', 'gmake', 'nvidia-smi'];
  if (!existsSync(smi)) {
    for (const folder of (process.env.PATH ?? '').split(delimiter))
      if (existsSync(folder)) link(folder, programs, [], makes);
    const fields = 's/name/NVIDIA H100 80GB HBM3/; s/driver_version/580.95.05/; s/compute_cap/9.0/; s/,/, /g';
    writeFileSync(smi, `#!/bin/sh\necho "$1" | sed 's/--query-gpu=//; ${fields}'\n`, { mode: 0o755 });
  }
  const { CMAKE_GENERATOR: _, CUDA_HOME: __, CUDA_PATH: ___, ...inherited } = process.env;
  return { ...inherited, PATH: programs, CUDACXX: compiler };
}

const run = (command: string, args: readonly string[], env: NodeJS.ProcessEnv) => {
  const end = spawnSync(command, args, { cwd: copy, env, encoding: 'utf8', maxBuffer: 1 << 28 });
  return { code: end.status, output: end.stdout + end.stderr };
};

describe.skipIf(skipAloud('the build for a GPU machine', nvcc.reason ?? ninja))(
  'the build for a GPU machine',
  { timeout: 1_800_000 },
  () => {
    it('needs neither make nor nvtx', () => {
      copyRepository();
      // What cmake has cached, the generator above all, would stay.
      rmSync(join(build, 'CMakeCache.txt'), { force: true });
      const products = ['ops', 'masked_conv2d', 'masked_conv2d_pack'].map((name) => `cuda_${name}_test_gpu`);
      products.push('cuda/libpixelcnn_cuda.so');
      for (const name of products) rmSync(join(build, name), { force: true });
      const start = performance.now();
      const code = `
        const { build } = await import('./scripts/gpu-acceptance/build.mjs');
        await build({ emulated: false, python: 'python3', say: (line) => console.log(JSON.stringify(line)) });`;
      const end = run(process.execPath, ['--input-type=module', '-e', code], bareMachine(cudaWithoutNvtx()));
      console.info(`the build for a GPU machine took ${((performance.now() - start) / 1000).toFixed(0)} s`);
      expect(end.code, end.output).toBe(0);
      expect(end.output).not.toContain('"failure"');
      expect(readFileSync(join(build, 'CMakeCache.txt'), 'utf8')).toContain('CMAKE_GENERATOR:INTERNAL=Ninja');
      for (const name of products)
        expect(inspectElf(join(build, name))?.gpuArchitectures, name).toEqual(['sm_90']);
    });

    it('keeps lines for compute-sanitizer and ncu', () => {
      const commands: { file: string; command: string }[] = JSON.parse(
        readFileSync(join(build, 'compile_commands.json'), 'utf8'),
      );
      const kernels = commands.filter(({ file }) => /\/cuda\/\w+\.cu$/.test(file));
      expect(kernels.length).toBeGreaterThan(10);
      for (const { file, command } of kernels) expect(command, file).toContain(' -lineinfo ');
    });

    it('planted: a configuration that leaves the generator to cmake', () => {
      const other = join(temporary, 'other');
      const end = run(
        'cmake',
        ['-S', '.', '-B', other],
        bareMachine(join(copy, 'cuda-without-nvtx', 'bin', 'nvcc')),
      );
      expect(end.output).toContain('CMAKE_MAKE_PROGRAM is not set');
      expect(end.code).toBe(1);
    });

    it('planted: a source that must have the header of nvtx', () => {
      const text = readFileSync(join(root, 'cuda', 'api.cu'), 'utf8');
      const guard = ' && __has_include(<nvtx3/nvToolsExt.h>)';
      expect(text).toContain(guard);
      const folder = join(temporary, 'planted');
      mkdirSync(folder);
      for (const name of ['native', 'cuda']) link(join(root, name), join(folder, name), [], ['api.cu']);
      writeFileSync(join(folder, 'cuda', 'api.cu'), text.replace(guard, ''));
      const compiler = join(copy, 'cuda-without-nvtx', 'bin', 'nvcc');
      const args = [
        '-std=c++20',
        '-arch=sm_90',
        '-c',
        '-o',
        join(folder, 'api.o'),
        join(folder, 'cuda', 'api.cu'),
      ];
      const end = run(compiler, args, bareMachine(compiler));
      expect(end.output).toContain('nvtx3/nvToolsExt.h: No such file or directory');
      expect(end.code).not.toBe(0);
    });
  },
);
