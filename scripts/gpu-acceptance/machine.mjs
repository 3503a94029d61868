// What machine this is, which commit runs, and the environment variables that all parts are run with.
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';
import { outputOf, root } from '../steps.mjs';

/** What is asked before any part has its limit: a driver or a file system that hangs must not hold the whole run. */
const answer = { seconds: 30 };

/** Name, driver and compute capability of the first GPU; undefined without one. */
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

/** What is checked out; undefined where the files have come without their history. */
export function commit() {
  const head = outputOf('git', ['rev-parse', 'HEAD'], answer);
  const changed = outputOf('git', ['status', '--porcelain', '--untracked-files=no'], answer);
  return head === undefined || changed === undefined || changed === '' ? head : `${head} with changes`;
}

/** What `prepare` was run on. */
function kitCommit() {
  const file = `${root}.gpu-kit/commit`;
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : undefined;
}

export function cudaLibrary({ emulated }) {
  if (!emulated) return `${root}build/cuda/libpixelcnn_cuda.so`;
  return process.env.PIXELCNN_CUDA_LIBRARY ?? `${root}build/libpixelcnn_cuda_emulated_plain.so`;
}

/** Whether the part `build` has done its work here before. */
export function packageIsReady({ emulated }) {
  const addon = `${root}build/Release/pixelcnn.node`;
  return [`${root}dist/index.js`, `${root}node_modules/zod`, addon, cudaLibrary({ emulated })].every(
    existsSync,
  );
}

/** The kernel test program `name`: for the GPU, or the one that runs under the checks of the emulator. */
export function kernelTest(name, { emulated }) {
  return `${root}build/cuda_${name}_test_${emulated ? 'checked' : 'gpu'}`;
}

/** The folder of the cuDNN wheel of a Python. */
export function cudnnWheel(python) {
  return outputOf(python, ['-c', 'import nvidia.cudnn as m; print(list(m.__path__)[0])'], answer);
}

export function partEnvironment({ emulated, python }) {
  const wheel = cudnnWheel(python);
  return {
    PIXELCNN_CUDA_LIBRARY: cudaLibrary({ emulated }),
    // A folder of this checkout: which engines are chosen must not depend on what ran on the machine before.
    PIXELCNN_CACHE: `${root}build/gpu-acceptance-cache`,
    // The library that the headers of the build belong to, wherever else the loader would look first.
    ...(wheel === undefined ? {} : { PIXELCNN_CUDNN: process.env.PIXELCNN_CUDNN ?? `${wheel}/lib` }),
  };
}

/** Has our own kernels do everything: cuDNN is not even looked for. */
export const ownKernels = { PIXELCNN_CUDNN: '/nonexistent' };
