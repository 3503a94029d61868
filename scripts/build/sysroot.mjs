// Fetches an older C library to link against with apt into .cache/sysroot-ARCH: that of Debian 11 (glibc 2.31).
import { existsSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { root } from '../steps.mjs';
import { unpackPackages } from './debian-packages.mjs';

/** The version of the sysroot's C library. */
export const sysrootGlibc = '2.31';
const release = 'bullseye';
const packages = [
  'libc6',
  'libc6-dev',
  'libcrypt1',
  'libcrypt-dev',
  'libgcc-s1',
  'libgcc-10-dev',
  'libstdc++6',
  'libstdc++-10-dev',
  'linux-libc-dev',
];
const architectures = {
  x64: { debian: 'amd64', triplet: 'x86_64-linux-gnu', loader: 'lib64/ld-linux-x86-64.so.2' },
  arm64: { debian: 'arm64', triplet: 'aarch64-linux-gnu', loader: 'lib/ld-linux-aarch64.so.1' },
};

/** Returns where the sysroot of an architecture (Node's name) is once it has been fetched. */
export function sysrootPaths(arch) {
  const { triplet, loader } = architectures[arch];
  const folder = `${root}.cache/sysroot-${arch}`;
  const libraries = [`lib/${triplet}`, `usr/lib/${triplet}`].map((part) => join(folder, part));
  return { folder, triplet, loader: join(folder, loader), libraries };
}

/** Fetches the sysroot unless it is there. Returns its paths, or `{ reason }` where fetching fails. */
export function fetchSysroot(arch) {
  const paths = sysrootPaths(arch);
  if (existsSync(`${paths.folder}/complete`)) return paths;
  const { debian } = architectures[arch];
  const reason = unpackPackages({ folder: paths.folder, release, debian, packages });
  if (reason !== undefined) return { reason };
  makeLinksRelative(paths.folder);
  writeFileSync(`${paths.folder}/complete`, '');
  return paths;
}

/** Makes absolute links of the packages relative, because they would lead out of the sysroot. */
function makeLinksRelative(folder) {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isSymbolicLink()) continue;
    const link = join(entry.parentPath, entry.name);
    const target = readlinkSync(link);
    if (!target.startsWith('/')) continue;
    rmSync(link);
    symlinkSync(relative(dirname(link), join(folder, target)), link);
  }
}
