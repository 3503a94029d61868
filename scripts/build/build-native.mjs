// Builds build/Release/pixelcnn.node with cmake-js; --tests adds the native test programs.
import { availableParallelism } from 'node:os';
import { npmCommand, outputOf, step } from '../steps.mjs';

const tests = process.argv.includes('--tests') ? 'ON' : 'OFF';
const env = { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) };
// The published library is for every GPU (scripts/build/prebuild.mjs). Here that of this machine is enough.
const capability = outputOf('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'])?.split(
  '\n',
)[0];
const gpu = `${capability?.replace('.', '') ?? '90'}-real`;
// CMake is configured every time, because it would ignore the option where a cache exists.
step(
  'cmake configure',
  npmCommand('cmake-js'),
  [
    'configure',
    `--CDPIXELCNN_NATIVE_TESTS=${tests}`,
    `--CDPIXELCNN_CUDA_ARCHITECTURES=${gpu}`,
    `--CDNODE=${process.execPath}`,
  ],
  {
    show: true,
  },
);
step('cmake build', npmCommand('cmake-js'), ['build'], { show: true, env });
