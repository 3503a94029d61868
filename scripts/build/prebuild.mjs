// Builds the binaries that the npm package carries: prebuilds/linux-x64 and linux-arm64, linked against an old C library.
// Usage: npm run prebuild [-- --arch x64]
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { npmCommand, root, step } from '../steps.mjs';
import { buildTools, requireTools } from '../tools.mjs';
import { inspectElf } from './elf.mjs';
import { fetchSysroot, sysrootGlibc, sysrootPaths } from './sysroot.mjs';

const { values } = parseArgs({ options: { arch: { type: 'string', multiple: true } } });
const architectures = values.arch ?? ['x64', 'arm64'];
const { name } = JSON.parse(readFileSync(`${root}package.json`, 'utf8'));

rmSync(`${root}prebuilds`, { recursive: true, force: true });
const plainBuilds = new Map();
for (const arch of architectures) prebuild(arch);
writeManifest();

/** Builds into prebuilds/linux-ARCH; objects stay in .cache/prebuild-ARCH. Tests a build for another processor. */
function prebuild(arch) {
  const cross = arch !== process.arch;
  requireTools([...buildTools, ...(cross ? [`${arch}Compiler`, 'qemu'] : [])], `the prebuild for ${arch}`);
  const sysroot = fetchSysroot(arch);
  const { triplet } = sysrootPaths(arch);
  if (sysroot.reason !== undefined) {
    plainBuilds.set(`linux-${arch}`, sysroot.reason);
    process.stderr.write(
      `── ${arch}: a plain build instead of one for glibc ${sysrootGlibc}: ${sysroot.reason}\n`,
    );
  }
  const work = `${root}.cache/prebuild-${arch}`;
  // CMake never changes compiler, sysroot and flags of a build folder.
  const toolchain = `${sysroot.folder}\n${readFileSync(`${root}scripts/build/sysroot-toolchain.cmake`, 'utf8')}`;
  if (!existsSync(`${work}/toolchain`) || readFileSync(`${work}/toolchain`, 'utf8') !== toolchain)
    rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  writeFileSync(`${work}/toolchain`, toolchain);
  const target = sysroot.folder !== undefined || cross;
  const flags = ['--napi', '--strip', '--tag-libc', '--platform', 'linux', '--arch', arch, '--name', name];
  const folders = ['--cwd', work, '--out', root, '--node-gyp', `${root}scripts/build/node-gyp-shim.mjs`];
  const strip = cross ? ['--strip-bin', `${triplet}-strip`] : [];
  step(`prebuild for linux-${arch}`, npmCommand('prebuildify'), [...flags, ...folders, ...strip], {
    show: true,
    env: {
      PIXELCNN_SYSROOT: sysroot.folder ?? '',
      PIXELCNN_TRIPLET: target ? triplet : '',
      PIXELCNN_CROSS: cross ? '1' : '',
    },
  });
  if (cross) {
    const emulator = `qemu-${triplet.split('-')[0]}-static`;
    const libraries = sysroot.folder ?? `/usr/${triplet}`;
    for (const isa of ['neon', 'neon_bf16']) {
      step(`native tests of ${arch}, ${isa}, under qemu`, emulator, [
        '-cpu',
        'max',
        '-L',
        libraries,
        `${work}/build/kernels_test`,
        '4',
        '7',
        isa,
      ]);
    }
  }
}

/**
 * Writes size, checksum and needed glibc of each binary, and why it is linked against this machine's C library where it
 * is. `pixelcnn doctor` and the checks of the tarball read it.
 */
function writeManifest() {
  const files = readdirSync(`${root}prebuilds`, { recursive: true })
    .filter((file) => /\.(node|so)$/.test(file))
    .sort();
  const entries = files.map((file) => {
    const path = `${root}prebuilds/${file}`;
    const bytes = readFileSync(path);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    const { glibc } = inspectElf(path);
    process.stderr.write(`── prebuilds/${file}: ${bytes.length} bytes, needs glibc ${glibc}\n`);
    const plainBuild = plainBuilds.get(dirname(file));
    return [file, { bytes: bytes.length, sha256, glibc, plainBuild }];
  });
  writeFileSync(
    `${root}prebuilds/manifest.json`,
    `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`,
  );
}
