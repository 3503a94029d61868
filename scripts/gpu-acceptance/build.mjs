// Builds the addon, libpixelcnn_cuda.so and the kernel tests with plain cmake, from the unpacked kit where there is no
// node_modules. Emulated: uses the build that `npm run setup` made.
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fail, outputOf, root, step } from '../steps.mjs';

/** Returns the paths of the kernel test programs. */
export function build({ emulated, python }) {
  if (emulated) {
    process.env.PIXELCNN_CUDA_LIBRARY ??= `${root}build/libpixelcnn_cuda_emulated_plain.so`;
    if (!existsSync(process.env.PIXELCNN_CUDA_LIBRARY))
      fail(`${process.env.PIXELCNN_CUDA_LIBRARY} is missing: run node scripts/setup.mjs --tests`);
    return kernelTests('checked');
  }
  if (!existsSync(`${root}node_modules/zod`)) {
    if (!existsSync(`${root}.gpu-kit/kit.tar.gz`))
      fail(
        'There is neither node_modules nor .gpu-kit: run `scripts/gpu-acceptance/run prepare` where npm works.',
      );
    step('kit', 'tar', ['-xzf', `${root}.gpu-kit/kit.tar.gz`, '-C', root]);
  }
  const capability = outputOf('nvidia-smi', ['--query-gpu=compute_cap', '--format=csv,noheader'])?.split(
    '\n',
  )[0];
  if (capability === undefined) fail('nvidia-smi finds no GPU here; --emulated runs without one.');
  const folder = `${root}build`;
  const cudnn = outputOf(python, ['-c', 'import nvidia.cudnn as m; print(list(m.__path__)[0])']);
  const ninja = outputOf('ninja', ['--version']) !== undefined; // make need not be there
  step(
    'cmake configure',
    'cmake',
    [
      ...['-S', root, '-B', folder, ...(ninja ? ['-G', 'Ninja'] : [])],
      '-DCMAKE_BUILD_TYPE=Release',
      `-DNODE_INCLUDE_DIR=${root}node_modules/node-api-headers/include`,
      `-DPIXELCNN_CUDA_ARCHITECTURES=${capability.replace('.', '')}-real`,
      '-DPIXELCNN_GPU_TESTS=ON',
    ],
    { show: true, env: cudnn === undefined ? {} : { CUDNN_HOME: cudnn } },
  );
  step('cmake build', 'cmake', ['--build', folder, '--parallel', String(availableParallelism())], {
    show: true,
  });
  mkdirSync(`${folder}/Release`, { recursive: true });
  copyFileSync(`${folder}/pixelcnn.node`, `${folder}/Release/pixelcnn.node`);
  process.env.PIXELCNN_CUDA_LIBRARY = `${folder}/cuda/libpixelcnn_cuda.so`;
  return kernelTests('gpu');
}

function kernelTests(kind) {
  return ['cuda_ops_test', 'cuda_masked_conv2d_test'].map((name) => `${root}build/${name}_${kind}`);
}
