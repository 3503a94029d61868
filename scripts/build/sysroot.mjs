// An older C library to link against: Debian 11's (glibc 2.31), fetched with apt into .cache/sysroot-ARCH of the clone.
import { existsSync, readdirSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { root } from '../steps.mjs';
import { unpackPackages } from './debian-packages.mjs';

/** The C library of the sysroot. */
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

/** Where the sysroot of an architecture (Node's name) lies once fetched. */
export function sysrootPaths(arch) {
  const { triplet, loader } = architectures[arch];
  const folder = `${root}.cache/sysroot-${arch}`;
  const libraries = [`lib/${triplet}`, `usr/lib/${triplet}`].map((part) => join(folder, part));
  return { folder, triplet, loader: join(folder, loader), libraries };
}

/** Fetches the sysroot unless it is there; returns its paths, or `{ reason }` where it cannot be had. */
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

/** Absolute links of the packages would lead out of the sysroot. */
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
