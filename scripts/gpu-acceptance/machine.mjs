// Reads which machine this is and which commit runs, and chooses the environment variables of all parts.
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { outputOf, root } from '../steps.mjs';

/** The limit of commands outside parts: a driver or a file system that hangs must not hold up the whole run. */
const answer = { seconds: 30 };

/** Returns name, driver and compute capability of the first GPU, or undefined without one. */
export function gpuOf() {
  const fields = ['name', 'driver_version', 'compute_cap'];
  const line = outputOf('nvidia-smi', [`--query-gpu=${fields}`, '--format=csv,noheader'], answer)?.split(
    '\n',
  )[0];
  const [name, driver, capability] = line?.split(', ') ?? [];
  return capability === undefined ? undefined : { name, driver, capability };
}

export function machineFacts() {
  return {
    commit: commit() ?? kitCommit() ?? 'unknown',
    kit: kitCommit(),
    nvcc: /release ([\d.]+)/.exec(outputOf('nvcc', ['--version'], answer) ?? '')?.[1],
    node: process.version,
    processor: `${os.availableParallelism()} × ${os.cpus()[0]?.model.trim()}`,
  };
}

/** Returns the commit that is checked out, or undefined where the files came without their history. */
export function commit() {
  const head = outputOf('git', ['rev-parse', 'HEAD'], answer);
  const changed = outputOf('git', ['status', '--porcelain', '--untracked-files=no'], answer);
  return head === undefined || changed === undefined || changed === '' ? head : `${head} with changes`;
}

/** Returns the commit on which `prepare` was run. */
function kitCommit() {
  const file = `${root}.gpu-kit/commit`;
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
}

export function cudaLibrary({ emulated }) {
  if (!emulated) return `${root}build/cuda/libpixelcnn_cuda.so`;
  return process.env.PIXELCNN_CUDA_LIBRARY ?? `${root}build/libpixelcnn_cuda_emulated_plain.so`;
}

/** Says whether the part `build` has done its work here before. */
export function packageIsReady({ emulated }) {
  const addon = `${root}build/Release/pixelcnn.node`;
  return [`${root}dist/index.js`, `${root}node_modules/zod`, addon, cudaLibrary({ emulated })].every(
    existsSync,
  );
}

/** Returns the kernel test program `name`: that for the GPU, or that which runs under the checks of the emulator. */
export function kernelTest(name, { emulated }) {
  return `${root}build/cuda_${name}_test_${emulated ? 'checked' : 'gpu'}`;
}

/** Returns the folder of the cuDNN wheel of a Python. */
export function cudnnWheel(python) {
  return outputOf(python, ['-c', 'import nvidia.cudnn as m; print(list(m.__path__)[0])'], answer);
}

export function partEnvironment({ emulated, python }) {
  const wheel = cudnnWheel(python);
  return {
    PIXELCNN_CUDA_LIBRARY: cudaLibrary({ emulated }),
    // The cache is in this checkout, because the choice of engines must not depend on what ran on the machine before.
    PIXELCNN_CACHE: `${root}build/gpu-acceptance-cache`,
    // cuDNN must be the library whose headers the build used, wherever else the loader would look first.
    ...(wheel === undefined ? {} : { PIXELCNN_CUDNN: process.env.PIXELCNN_CUDNN ?? `${wheel}/lib` }),
  };
}

/** Variables with which no cuDNN is found, so that our own kernels do everything. */
export const ownKernels = { PIXELCNN_CUDNN: '/nonexistent' };
