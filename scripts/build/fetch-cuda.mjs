// Fetches a CUDA toolchain and cuDNN from PyPI into .cuda/, without root and without installing anything.
// Usage: node scripts/build/fetch-cuda.mjs [compiler] [cudnn] [cublas]   (all of them by default; what is there is kept)
//
//   compiler  nvcc, its headers and the static CUDA runtime: what the CUDA backend is compiled with
//   cudnn     cuDNN, its headers and libraries
//   cublas    libcublasLt, which cuDNN needs when it runs
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fail, root, step, succeeds } from '../steps.mjs';

const parts = {
  compiler: {
    'nvidia-cuda-nvcc': '13.0.88',
    'nvidia-cuda-crt': '13.0.88',
    'nvidia-nvvm': '13.0.88',
    'nvidia-cuda-runtime': '13.0.96',
    'nvidia-cuda-cccl': '13.0.85',
    'nvidia-nvtx': '13.0.85',
  },
  cudnn: { 'nvidia-cudnn-cu13': '9.24.0.43' },
  cublas: { 'nvidia-cublas': '13.1.1.3' },
};

const chosen = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(parts);
const unknown = chosen.find((part) => !Object.hasOwn(parts, part));
if (unknown !== undefined) fail(`There is no part '${unknown}': expected ${Object.keys(parts).join(', ')}.`);

const folder = join(root, '.cuda');
const missing = chosen
  .flatMap((part) => Object.entries(parts[part]))
  .filter(([name, version]) => !isThere(name, version));
if (missing.length > 0) fetch(missing);
addLib64();

/** Whether a wheel is unpacked. Its record is written last, so that a fetch that was cut off is repeated. */
function isThere(name, version) {
  return existsSync(join(folder, `${name.replaceAll('-', '_')}-${version}.dist-info`));
}

function fetch(packages) {
  if (!succeeds('python3', ['-m', 'pip', '--version'])) {
    fail('Fetching CUDA needs python3 with pip. On Debian or Ubuntu: sudo apt-get install python3-pip');
  }
  mkdirSync(folder, { recursive: true });
  const incoming = mkdtempSync(join(folder, 'incoming-'));
  try {
    const names = packages.map(([name, version]) => `${name}==${version}`);
    const pip = ['-m', 'pip', 'install', '--no-deps', '--only-binary', ':all:', '--retries', '1'];
    step(`fetching ${names.join(' ')}`, 'python3', [...pip, '--target', incoming, ...names], {
      remedy: 'The package index could not deliver these wheels: they are for Linux on x86-64 and ARM64.',
    });
    const entries = readdirSync(incoming).sort((a, b) => Number(isRecord(a)) - Number(isRecord(b)));
    for (const entry of entries) merge(join(incoming, entry), join(folder, entry));
  } finally {
    rmSync(incoming, { recursive: true, force: true });
  }
}

function isRecord(entry) {
  return entry.endsWith('.dist-info');
}

/** Moves a file or folder; wheels share the folder nvidia/. */
function merge(from, to) {
  if (!existsSync(to)) {
    renameSync(from, to);
    return;
  }
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (entry.isDirectory()) merge(source, target);
    else renameSync(source, target);
  }
}

/** Links lib64, where nvcc looks for its libraries, to lib, where the wheels have them. */
function addLib64() {
  const toolkit = join(folder, 'nvidia', 'cu13');
  if (existsSync(join(toolkit, 'lib')) && !existsSync(join(toolkit, 'lib64')))
    symlinkSync('lib', join(toolkit, 'lib64'));
}
