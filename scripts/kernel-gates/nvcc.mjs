// Finds nvcc where cmake/FindPixelcnnCuda.cmake does, and compiles .cu files to cubins, which it caches by content.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fail, outputOf, root } from '../steps.mjs';

const oldest = 13;

/** Finds the path and release of nvcc, or why there is none. */
export function findNvcc() {
  const { PIXELCNN_CUDA_ROOT, CUDACXX, CUDA_HOME, CUDA_PATH } = process.env;
  const installed = existsSync('/usr/local')
    ? readdirSync('/usr/local').filter((name) => /^cuda(-1[3-9].*)?$/.test(name))
    : [];
  const nvccOf = (toolkit) => toolkit && join(toolkit, 'bin/nvcc');
  const places = [
    ...[nvccOf(PIXELCNN_CUDA_ROOT), CUDACXX, nvccOf(CUDA_HOME), nvccOf(CUDA_PATH)].filter((path) => path),
    'nvcc',
    `${root}.cuda/nvidia/cu13/bin/nvcc`,
    ...installed.map((folder) => `/usr/local/${folder}/bin/nvcc`),
  ];
  const old = [];
  for (const path of places) {
    const release = /release (\d+)[.\d]*, V([.\d]+)/.exec(outputOf(path, ['--version']) ?? '');
    if (release !== null && Number(release[1]) >= oldest) return { path, release: release[2] };
    if (release !== null) old.push(`${path} is release ${release[2]}`);
  }
  const why = old.length > 0 ? `, and ${old.join(', ')}` : '';
  return {
    reason: `no nvcc of CUDA ${oldest} or newer${why}: node scripts/build/fetch-cuda.mjs compiler fetches one`,
  };
}

/** Returns where nvcc has its headers and its other programs. */
export function toolkitOf(path) {
  const run = spawnSync(path, ['--dryrun', '-E', '-x', 'cu', '/dev/null'], { encoding: 'utf8' });
  const said = (name) => new RegExp(`^#\\$ ${name}=(.*)$`, 'm').exec(run.stderr)?.[1];
  const [folder, include] = [said('TOP'), /"-I([^"]+)"/.exec(said('INCLUDES') ?? '')?.[1]];
  if (folder === undefined || include === undefined)
    fail(`${path} --dryrun does not say where it is:\n${run.stderr}`);
  return { folder, include };
}

/** Returns the flags with which cuda/CMakeLists.txt compiles kernels: its own, and CMake's for a release build. */
export function buildFlags() {
  const text = readFileSync(`${root}cuda/CMakeLists.txt`, 'utf8');
  const own = /target_compile_options\(pixelcnn_cuda PRIVATE\s+\$<\$<COMPILE_LANGUAGE:CUDA>:([^>]*)>\)/.exec(
    text,
  );
  if (own === null) fail('cuda/CMakeLists.txt no longer says what pixelcnn_cuda is compiled with.');
  return ['-O3', '-DNDEBUG', '-std=c++20', ...own[1].split(/\s+/)];
}

/**
 * Compiles a file for one architecture, unless the same text was compiled before. Returns the cubin's path and what
 * ptxas -v said, or what the compiler complained of.
 */
export function compile(nvcc, source, architecture, flags) {
  const all = [...flags, `-arch=sm_${architecture}`, '-cubin', '-Xptxas=-v'];
  const hash = createHash('sha256').update(JSON.stringify([nvcc.release, all]));
  for (const text of textsOf(source, new Set())) hash.update(text);
  const folder = `${root}build/kernel-gates`;
  mkdirSync(folder, { recursive: true });
  const name = `${basename(source, '.cu')}.sm_${architecture}.${hash.digest('hex').slice(0, 16)}`;
  const cubin = join(folder, `${name}.cubin`);
  const log = join(folder, `${name}.log`);
  if (!existsSync(cubin)) {
    // The file is renamed when it is whole, so that a compilation that was cut off does not look like a result.
    const incoming = join(folder, `${name}.${process.pid}.incoming`);
    const run = spawnSync(nvcc.path, [...all, '-o', incoming, source], { encoding: 'utf8' });
    if (run.error !== undefined) fail(`${nvcc.path} does not start: ${run.error.message}`);
    if (run.status !== 0) return { complaint: run.stdout + run.stderr };
    writeFileSync(log, run.stdout + run.stderr);
    renameSync(incoming, cubin);
  }
  return { cubin, log: readFileSync(log, 'utf8') };
}

/** Reads a file and everything that it includes in quotes. */
function textsOf(path, seen) {
  if (seen.has(path) || !existsSync(path)) return [];
  seen.add(path);
  const text = readFileSync(path, 'utf8');
  const included = [...text.matchAll(/^#include "(.*)"/gm)].map((match) => join(dirname(path), match[1]));
  return [text, ...included.flatMap((file) => textsOf(file, seen))];
}
