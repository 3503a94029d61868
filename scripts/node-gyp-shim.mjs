#!/usr/bin/env node
// What prebuildify runs in the place of node-gyp: cmake-js, with its output in build/ of the folder prebuildify chose.
import { availableParallelism } from 'node:os';
import { npmCommand, root, step } from './steps.mjs';

// prebuildify's arguments (rebuild --target=… --arch=…) mean nothing to a Node-API addon.
const folders = ['--directory', root, '--out', `${process.cwd()}/build`];
const toolchain = process.env.PIXELCNN_TRIPLET
  ? [`--CDCMAKE_TOOLCHAIN_FILE=${root}scripts/sysroot-toolchain.cmake`]
  : [];
const env = { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) };
step('cmake configure', npmCommand('cmake-js'), [
  'configure',
  ...folders,
  ...toolchain,
  `--CDPIXELCNN_NATIVE_TESTS=${process.env.PIXELCNN_NATIVE_TESTS}`,
]);
step('cmake build', npmCommand('cmake-js'), ['build', ...folders], { env });
