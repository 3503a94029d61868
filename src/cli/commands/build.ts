// Defines `pixelcnn build`, which builds the native part from source on machines that no prebuilt binary fits.
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packageRoot } from '../../device/native-binary.js';
import { PixelCnnError } from '../../errors.js';
import { z } from '../../options.js';
import type { Command } from '../command.js';
import { outputOptions } from '../common.js';
import { Terminal } from '../terminal.js';

const schema = z.strictObject(outputOptions);
const needs =
  'Node.js with npm, a C++20 compiler (GCC 10 or Clang 12 and newer), cmake 3.18 or newer, and make or ninja';
const remedy =
  'Debian and Ubuntu: apt-get install g++ cmake make; Fedora: dnf install gcc-c++ cmake make; ' +
  'Alpine: apk add g++ cmake make';
const headers = ['node-api-headers', 'node-addon-api'] as const;
const execute = promisify(execFile);

export const buildCommand: Command<typeof schema> = {
  name: 'build',
  summary: 'Builds the native part from source, for machines that no prebuilt binary fits.',
  schema,
  examples: ['pixelcnn build'],
  notes:
    `Needs ${needs}. Node's headers come from the npm registry. With nvcc and the headers of cuDNN the CUDA library ` +
    'is built as well. The result lies in build/Release of the installed package and is used from then on, until the ' +
    'package is installed again.',

  async run(options) {
    const terminal = new Terminal(options);
    await checkTools();
    const work = join(packageRoot, 'build', 'from-source');
    await rm(work, { recursive: true, force: true });
    await mkdir(join(work, 'headers'), { recursive: true });
    const step = async (title: string, command: string, args: readonly string[]) => {
      terminal.note(title, 'dim');
      await run(title, command, args);
    };
    await writeFile(join(work, 'headers', 'package.json'), '{ "private": true }\n');
    const quiet = ['--prefix', join(work, 'headers'), '--ignore-scripts', '--no-audit', '--no-fund'];
    await step("Node's headers", 'npm', ['install', ...quiet, ...(await headerPackages())]);
    const modules = join(work, 'headers', 'node_modules');
    const settings = {
      CMAKE_BUILD_TYPE: 'Release',
      CMAKE_LIBRARY_OUTPUT_DIRECTORY: join(work, 'result'),
      NODE_INCLUDE_DIR: join(modules, 'node-api-headers', 'include'),
      NODE_ADDON_API_DIR: join(modules, 'node-addon-api'),
    };
    const definitions = Object.entries(settings).map(([name, value]) => `-D${name}=${value}`);
    const build = join(work, 'cmake');
    await step('configuring', 'cmake', ['-S', packageRoot, '-B', build, ...definitions]);
    const parallel = ['--parallel', String(availableParallelism())];
    await step('compiling, a few minutes', 'cmake', ['--build', build, ...parallel]);
    const addon = join(work, 'result', 'pixelcnn.node');
    await step('loading', process.execPath, ['-e', 'require(process.argv[1])', addon]);

    const release = join(packageRoot, 'build', 'Release');
    await mkdir(release, { recursive: true });
    const files = await readdir(join(work, 'result'));
    for (const file of files) await rename(join(work, 'result', file), join(release, file));
    await rm(work, { recursive: true });
    const built = files.map((file) => join(release, file));
    terminal.result(`built ${built.join(', ')}; \`npx pixelcnn doctor\` checks it`, { built });
    return 0;
  },
};

/** Throws ERR_BUILD_TOOLS with the names of all missing tools, if any are missing. */
async function checkTools(): Promise<void> {
  const has = (command: string) => execute(command, ['--version']).then(Boolean, () => false);
  const hasMake = (await has('make')) || (await has('ninja'));
  const missing = [
    ...((await has('npm')) ? [] : ['npm']),
    ...((await has(process.env.CXX ?? 'c++')) ? [] : ['a C++ compiler']),
    ...((await has('cmake')) ? [] : ['cmake']),
    ...(hasMake ? [] : ['make or ninja']),
  ];
  if (missing.length === 0) return;
  const message = `building pixelcnn needs ${needs}; not found: ${missing.join(', ')}`;
  throw new PixelCnnError('ERR_BUILD_TOOLS', message, { remedy });
}

/** Returns the packages of headers, in the versions that pixelcnn is developed with. */
async function headerPackages(): Promise<string[]> {
  const text = await readFile(join(packageRoot, 'package.json'), 'utf8');
  const { devDependencies } = JSON.parse(text) as { devDependencies: Record<string, string> };
  return headers.map((name) => `${name}@${devDependencies[name]}`);
}

/** Runs a command. @throws PixelCnnError ERR_BUILD_FAILED with the end of the command's output. */
async function run(title: string, command: string, args: readonly string[]): Promise<void> {
  try {
    await execute(command, args, { maxBuffer: 2 ** 28 });
  } catch (cause) {
    const { stdout = '', stderr = '' } = cause as { stdout?: string; stderr?: string };
    const output = `${stdout}\n${stderr}`.trim().split('\n').slice(-40).join('\n');
    throw new PixelCnnError('ERR_BUILD_FAILED', `${title} failed: ${command} ${args.join(' ')}\n${output}`, {
      remedy: `check that there is ${needs}`,
      cause,
    });
  }
}
