// Builds build/Release/pixelcnn.node with cmake-js; --tests adds the native test programs.
import { availableParallelism } from 'node:os';
import { npmCommand, step } from './steps.mjs';

const tests = process.argv.includes('--tests') ? 'ON' : 'OFF';
const env = { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) };
// Configured every time: with an existing cache the option would not be seen.
step('cmake configure', npmCommand('cmake-js'), ['configure', `--CDPIXELCNN_NATIVE_TESTS=${tests}`], {
  show: true,
});
step('cmake build', npmCommand('cmake-js'), ['build'], { show: true, env });
