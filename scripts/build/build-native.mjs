// Builds build/Release/pixelcnn.node with cmake-js; --tests adds the native test programs.
import { availableParallelism } from 'node:os';
import { npmCommand, outputOf, step } from '../steps.mjs';

const tests = process.argv.includes('--tests') ? 'ON' : 'OFF';
const env = { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) };
// The published library is for every GPU (scripts/build/prebuild.mjs); here one is enough: the one of this machine.
const capability = outputOf('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'])?.split(
  '\n',
)[0];
const gpu = `${capability?.replace('.', '') ?? '90'}-real`;
// Configured every time: with an existing cache the option would not be seen.
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
