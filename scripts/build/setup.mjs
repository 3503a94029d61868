// Sets up everything a clone needs: compiler and cmake, npm packages, the native build and dist/. Safe to run again.
// Usage: node scripts/build/setup.mjs [--tests]   (--tests adds what the tests need)

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fail, npmCommand, outputOf, root, step, succeeds } from '../steps.mjs';
import { buildTools, requireTools } from '../tools.mjs';

const tests = process.argv.includes('--tests');

requireNode();
requireTools([...buildTools, ...(tests ? ['clangFormat'] : [])], 'building pixelcnn from source');
installPackages();
if (tests && process.platform === 'linux') fetchCuda();
step('native build', 'node', ['scripts/build/build-native.mjs', ...(tests ? ['--tests'] : [])]);
step('TypeScript build', npmCommand('tsc'), ['-p', 'tsconfig.build.json']);
if (tests) step('example server', npmCommand('tsc'), ['-p', 'examples/server/tsconfig.json']);

function requireNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    fail(`pixelcnn needs Node.js 20.19 or newer, this is ${process.versions.node}.`);
  }
}

/** Fetches what the tests of cuda/ need. Where that fails, the tests say what they leave out. */
function fetchCuda() {
  const parts = ['cudnn'];
  if (!succeeds('nvcc', ['--version'])) parts.unshift('compiler');
  spawnSync('node', ['scripts/build/fetch-cuda.mjs', ...parts], { cwd: root, stdio: 'inherit' });
}

/**
 * Installs the packages of the lock file, unless that was done before. `npm ci` is not used, because it refuses a registry
 * that lacks the optional packages of other platforms.
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
