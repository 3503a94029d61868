#!/usr/bin/env node
// Runs cmake-js when prebuildify calls it as node-gyp, with build/ of the folder that prebuildify chose as its
// output.
import { availableParallelism } from 'node:os';
import { npmCommand, root, step } from '../steps.mjs';

// prebuildify's arguments (rebuild --target=… --arch=…) mean nothing to a Node-API addon.
const folders = ['--directory', root, '--out', `${process.cwd()}/build`];
const { PIXELCNN_TRIPLET: triplet, PIXELCNN_CROSS: cross } = process.env;
const settings = {
  ...(triplet && { CMAKE_TOOLCHAIN_FILE: `${root}scripts/build/sysroot-toolchain.cmake` }),
  // A build for another processor includes its tests, which run under qemu, but no CUDA, because nvcc is for this one.
  PIXELCNN_NATIVE_TESTS: cross ? 'ON' : 'OFF',
  CMAKE_DISABLE_FIND_PACKAGE_PixelcnnCuda: cross ? 'ON' : 'OFF',
};
const definitions = Object.entries(settings).map(([name, value]) => `--CD${name}=${value}`);
const env = { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) };
step('cmake configure', npmCommand('cmake-js'), ['configure', ...folders, ...definitions]);
for (const target of cross ? ['pixelcnn', 'kernels_test'] : ['all'])
  step(`cmake build of ${target}`, npmCommand('cmake-js'), ['build', ...folders, '--target', target], {
    env,
  });
