// Sets up everything a clone needs: compiler and cmake, npm packages, the native build and dist/. Safe to run again.
// Usage: node scripts/setup.mjs [--tests]   (--tests adds what only `npm test` needs)

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fail, npmCommand, outputOf, root, step, succeeds } from './steps.mjs';
import { buildTools, requireTools } from './tools.mjs';

const tests = process.argv.includes('--tests');

requireNode();
requireTools([...buildTools, ...(tests ? ['clangFormat'] : [])], 'building pixelcnn from source');
installPackages();
if (tests && process.platform === 'linux') fetchCuda();
step('native build', 'node', ['scripts/build-native.mjs', ...(tests ? ['--tests'] : [])]);
step('TypeScript build', npmCommand('tsc'), ['-p', 'tsconfig.build.json']);

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`pixelcnn needs Node.js 20.19 or newer, this is ${process.versions.node}.`);
  }
}

<<<<<<< HEAD
/** What the tests of cuda/ need. Where it is not to be had, they say what they leave out. */
function fetchCuda() {
  const parts = ['cudnn', 'cublas'];
  if (!succeeds('nvcc', ['--version'])) parts.unshift('compiler');
  spawnSync('node', ['scripts/fetch-cuda.mjs', ...parts], { cwd: root, stdio: 'inherit' });
=======
/** Compiler, cmake and (for tests) clang with its tools: through apt for root on Debian and its kin, else one sentence. */
function installTools() {
  const tools = [
    { name: 'a C++20 compiler', packages: ['g++'], found: () => succeeds('c++', ['--version']) },
    { name: 'cmake', packages: ['cmake'], found: () => succeeds('cmake', ['--version']) },
    {
      name: 'make or ninja',
      packages: ['ninja-build'],
      found: () => succeeds('ninja', ['--version']) || succeeds('make', ['--version']),
    },
    ...(tests
      ? [
          {
            name: 'clang-format',
            packages: ['clang-format'],
            found: () => succeeds('clang-format', ['--version']),
          },
          {
            name: 'clang-tidy',
            packages: ['clang-tidy'],
            found: () => succeeds('clang-tidy', ['--version']),
          },
          { name: 'clang with libFuzzer', packages: ['clang', 'libclang-rt-dev'], found: hasFuzzer },
        ]
      : []),
  ];
  const missing = tools.filter(({ found }) => !found());
  if (missing.length === 0) return;
  const packages = missing.flatMap((tool) => tool.packages);
  const isRoot = process.getuid?.() === 0;
  if (!isRoot || !succeeds('apt-get', ['--version'])) {
    const names = missing.map(({ name }) => name).join(', ');
    fail(
      `pixelcnn is built from source here and needs ${names}. On Debian or Ubuntu: sudo apt-get install ${packages.join(' ')}`,
    );
  }
  const quiet = { env: { DEBIAN_FRONTEND: 'noninteractive' } };
  step('package lists', 'apt-get', ['update', '-qq'], quiet);
  step(
    `installing ${packages.join(' ')}`,
    'apt-get',
    ['install', '-y', '-qq', '--no-install-recommends', ...packages],
    quiet,
  );
>>>>>>> survival
}

/** The fuzzer's library is a package of its own. */
function hasFuzzer() {
  const folder = outputOf('clang++', ['-print-runtime-dir']);
  return (
    folder !== undefined &&
    existsSync(folder) &&
    readdirSync(folder).some((name) => /clang_rt\.fuzzer/.test(name))
  );
}

/**
 * The packages of the lock file, unless they are installed already. Not `npm ci`: it refuses a registry that lacks the
 * optional packages of other platforms.
 */
function installPackages() {
  const stamp = `${root}node_modules/.pixelcnn-setup`;
  const digest = createHash('sha256')
    .update(readFileSync(`${root}package-lock.json`))
    .digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return;
  step('npm packages', 'npm', ['install', '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'], {
    remedy: `npm ${outputOf('npm', ['--version']) ?? ''} could not install the packages of package-lock.json.`,
  });
  writeFileSync(stamp, digest);
}
