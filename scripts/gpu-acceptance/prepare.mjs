// Packs into .gpu-kit/ what a GPU machine without npm lacks: Node itself, dist/, and the few npm packages that the
// build and the library read. Run where `npm run setup` has been run; carry the folder along with the repository.
import { createReadStream, createWriteStream, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { outputOf, root, step } from '../steps.mjs';

const packages = ['zod', 'node-gyp-build', 'node-addon-api', 'node-api-headers'];

export async function prepare() {
  const kit = `${root}.gpu-kit`;
  rmSync(kit, { recursive: true, force: true });
  mkdirSync(kit);
  const contents = ['dist', ...packages.map((name) => `node_modules/${name}`)];
  step('dist', 'node', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json']);
  step('packages', 'tar', ['-czf', `${kit}/kit.tar.gz`, '--exclude=*.map', '--exclude=*.cts', ...contents]);
  writeFileSync(`${kit}/commit`, `${commit()}\n`);
  await pipeline(createReadStream(process.execPath), createGzip(), createWriteStream(`${kit}/node.gz`));
  const size = ['kit.tar.gz', 'node.gz'].reduce((sum, name) => sum + statSync(`${kit}/${name}`).size, 0);
  process.stderr.write(`.gpu-kit/: ${(size / 2 ** 20).toFixed(0)} MiB, with Node ${process.version}\n`);
}

function commit() {
  const changed = outputOf('git', ['status', '--porcelain', '--untracked-files=no']) !== '';
  return `${outputOf('git', ['rev-parse', 'HEAD']) ?? 'unknown'}${changed ? ' with changes' : ''}`;
}
