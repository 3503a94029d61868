// Fetches a version of g++ that this machine does not have, from Debian, into .cache/gcc-VERSION. It only checks
// sources (-fsyntax-only), which needs neither an assembler nor a linker, nor another root folder.
import { existsSync, writeFileSync } from 'node:fs';
import { root, succeeds } from '../steps.mjs';
import { unpackPackages } from './debian-packages.mjs';

const release = 'trixie'; // has g++ 12, 13 and 14
const architectures = {
  x64: { debian: 'amd64', triplet: 'x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' },
  arm64: { debian: 'arm64', triplet: 'aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' },
};

/** Returns the command that checks a C++ source with this version of g++, from the PATH or fetched, or `{ reason }`. */
export function findGcc(version) {
  const flags = ['-fsyntax-only', '-std=c++20', '-Wall', '-Wextra'];
  if (succeeds(`g++-${version}`, ['--version']))
    return { command: [`g++-${version}`, '-x', 'c++', ...flags] };
  const architecture = architectures[process.arch];
  if (process.platform !== 'linux' || architecture === undefined)
    return { reason: `no g++-${version} on the PATH, and Debian has none for this platform` };
  const folder = `${root}.cache/gcc-${version}`;
  if (!existsSync(`${folder}/complete`)) {
    const { debian } = architecture;
    const reason = unpackPackages({ folder, release, debian, packages: [`g++-${version}`] });
    if (reason !== undefined) return { reason: `no g++-${version} on the PATH, and ${reason}` };
    writeFileSync(`${folder}/complete`, '');
  }
  return { command: [...fetchedCompiler(folder, version, architecture), ...flags] };
}

/** Returns the command that starts the compiler with the fetched C library, which is newer than this machine's. */
function fetchedCompiler(folder, version, { triplet, loader }) {
  const usr = `${folder}/usr`;
  const headers = [
    `include/c++/${version}`,
    `include/${triplet}/c++/${version}`,
    `lib/gcc/${triplet}/${version}/include`,
    `include/${triplet}`,
    'include',
  ].flatMap((name) => ['-isystem', `${usr}/${name}`]);
  const libraries = ['--library-path', `${usr}/lib/${triplet}`];
  const compiler = `${usr}/libexec/gcc/${triplet}/${version}/cc1plus`;
  // The compiler writes an empty file for the assembler even where it only checks a source.
  const alone = ['-quiet', '-o', '/dev/null', '-nostdinc', '-nostdinc++', '-D_GNU_SOURCE', ...headers];
  return [`${usr}/lib/${triplet}/${loader}`, ...libraries, compiler, ...alone];
}
