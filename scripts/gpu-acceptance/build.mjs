// Runs the part `build`: it builds the addon, libpixelcnn_cuda.so and the kernel tests with plain cmake, and takes
// npm packages from the kit where npm has installed none. With --emulated it checks that the build of `npm run
// setup` is there.
import { copyFileSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { root } from '../steps.mjs';
import { cudaLibrary, cudnnWheel, gpuOf, kernelTest } from './machine.mjs';
import { runCommand } from './part.mjs';

const folder = `${root}build`;

export async function build({ emulated, python, say }) {
  await unpackKit();
  const library = cudaLibrary({ emulated });
  const tests = ['ops', 'masked_conv2d', 'masked_conv2d_pack'].map((name) => kernelTest(name, { emulated }));
  const addon = `${folder}/${emulated ? 'Release/' : ''}pixelcnn.node`;
  if (!emulated) await compile([addon, library, ...tests], { python, say });
  for (const file of [addon, library, ...tests]) {
    const failure = `${file} is missing${emulated ? ': run node scripts/build/setup.mjs --tests' : ''}`;
    if (!existsSync(file)) say({ failure });
  }
  if (emulated || !existsSync(addon)) return;
  mkdirSync(`${folder}/Release`, { recursive: true });
  copyFileSync(addon, `${folder}/Release/pixelcnn.node`);
}

/** Unpacks the packages anew every time, because those of an earlier run may belong to another commit. */
async function unpackKit() {
  if (existsSync(`${root}node_modules/typescript`)) return;
  const kit = `${root}.gpu-kit/kit.tar.gz`;
  if (!existsSync(kit))
    throw new Error(
      'there is neither node_modules nor .gpu-kit: run scripts/gpu-acceptance/run prepare where npm works',
    );
  await succeed('tar', ['-xzf', kit, '-C', root]);
}

async function compile(products, { python, say }) {
  // If this build fails, no part may run on what an earlier one left.
  for (const file of [...products, `${folder}/Release/pixelcnn.node`]) rmSync(file, { force: true });
  const ninja = (await runCommand('ninja', ['--version'])).code === 0;
  const wheel = cudnnWheel(python);
  const capability = gpuOf().capability.replace('.', '');
  await succeed(
    'cmake',
    [
      ...['-S', root, '-B', folder, ...(ninja ? ['-G', 'Ninja'] : [])],
      '-DCMAKE_BUILD_TYPE=Release',
      `-DNODE_INCLUDE_DIR=${root}node_modules/node-api-headers/include`,
      `-DPIXELCNN_CUDA_ARCHITECTURES=${capability}-real`,
      '-DPIXELCNN_GPU_TESTS=ON',
    ],
    wheel === undefined ? {} : { CUDNN_HOME: wheel },
  );
  say({ generator: ninja ? 'ninja' : 'make', capability, cudnnHeaders: wheel ?? 'none in a wheel' });
  // The build goes on after a file that does not compile, so that the other parts can run.
  const goOn = ninja ? ['-k', '0'] : ['-k'];
  const start = performance.now();
  const jobs = String(availableParallelism());
  const { code, output } = await runCommand('cmake', ['--build', folder, '--parallel', jobs, '--', ...goOn]);
  const lines = output.split('\n');
  const complaints = lines.filter((line) => /warning|error|FAILED/i.test(line)).slice(0, 40);
  say({ compiled: (performance.now() - start) / 1000, complaints });
  if (code !== 0) say({ failure: `the build ended with ${code}: ${output.trim().slice(-3000)}` });
}

async function succeed(command, args, env = {}) {
  const { code, output } = await runCommand(command, args, { env });
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${output.trim().slice(-3000)}`);
}
