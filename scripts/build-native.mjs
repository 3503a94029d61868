// Builds build/Release/pixelcnn.node with cmake-js; --tests adds the native test programs.
import { availableParallelism } from 'node:os';
import { npmCommand, step } from './steps.mjs';

const tests = process.argv.includes('--tests') ? 'ON' : 'OFF';
step('cmake-js', npmCommand('cmake-js'), ['compile', `--CDPIXELCNN_NATIVE_TESTS=${tests}`], {
  show: true,
  env: { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) },
});
