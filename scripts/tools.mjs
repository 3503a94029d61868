// Finds programs that the scripts need, and installs missing ones through apt as root on Debian or else names them.
import { existsSync, readdirSync } from 'node:fs';
import { fail, outputOf, step, succeeds } from './steps.mjs';

const has = (command) => () => succeeds(command, ['--version']);
const known = {
  compiler: { name: 'a C++20 compiler', packages: ['g++'], found: has('c++') },
  cmake: { name: 'cmake', packages: ['cmake'], found: has('cmake') },
  make: { name: 'make or ninja', packages: ['ninja-build'], found: () => has('ninja')() || has('make')() },
  clangFormat: { name: 'clang-format', packages: ['clang-format'], found: has('clang-format') },
  clangTidy: { name: 'clang-tidy', packages: ['clang-tidy'], found: has('clang-tidy') },
  libFuzzer: { name: 'clang with libFuzzer', packages: ['clang', 'libclang-rt-dev'], found: hasFuzzer },
  arm64Compiler: {
    name: 'a C++20 cross compiler for arm64',
    packages: ['g++-aarch64-linux-gnu'],
    found: has('aarch64-linux-gnu-g++'),
  },
  x64Compiler: {
    name: 'a C++20 cross compiler for x86-64',
    packages: ['g++-x86-64-linux-gnu'],
    found: has('x86_64-linux-gnu-g++'),
  },
  chromium: { name: 'chromium', packages: ['chromium'], found: has('chromium') },
  qemu: { name: 'qemu-user', packages: ['qemu-user-static'], found: has('qemu-aarch64-static') },
  iproute2: { name: 'iproute2', packages: ['iproute2'], found: () => succeeds('ip', ['-V']) },
};

/** Says whether clang has libFuzzer, which is a separate package. */
function hasFuzzer() {
  const folder = outputOf('clang++', ['-print-runtime-dir']);
  return (
    folder !== undefined &&
    existsSync(folder) &&
    readdirSync(folder).some((name) => /clang_rt\.fuzzer/.test(name))
  );
}

/** The programs that build the native part. */
export const buildTools = ['compiler', 'cmake', 'make'];

/** Installs programs of the list above by name, or fails. `purpose` begins the sentence that names what is missing. */
export function requireTools(names, purpose) {
  const missing = names.map((name) => known[name]).filter(({ found }) => !found());
  if (missing.length === 0) return;
  const packages = missing.flatMap((tool) => tool.packages);
  if (process.getuid?.() !== 0 || !succeeds('apt-get', ['--version'])) {
    const list = missing.map(({ name }) => name).join(', ');
    fail(`${purpose} needs ${list}. On Debian or Ubuntu: sudo apt-get install ${packages.join(' ')}`);
  }
  const quiet = { env: { DEBIAN_FRONTEND: 'noninteractive' } };
  step('package lists', 'apt-get', ['update', '-qq'], quiet);
  step(
    `installing ${packages.join(' ')}`,
    'apt-get',
    ['install', '-y', '-qq', '--no-install-recommends', ...packages],
    quiet,
  );
}
