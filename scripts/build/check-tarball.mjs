// Checks the packed npm package: what is in it, and what its binaries need. Exit code 1 if a check fails.
// Usage: node scripts/build/check-tarball.mjs pixelcnn-0.1.0.tgz
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fail, outputOf, succeeds } from '../steps.mjs';
import { compareVersions, inspectElf } from './elf.mjs';
import { sysrootGlibc } from './sysroot.mjs';

const largest = 15e6;
/** Libraries that every glibc system has. A binary opens all others by name at run time, where they are installed. */
const systemLibraries = /^(lib(c|m|dl|rt|pthread)\.so\.\d|ld-linux-(x86-64|aarch64)\.so\.\d)$/;
const machines = { 'linux-x64': 'Advanced Micro Devices X86-64', 'linux-arm64': 'AArch64' };
/** Machine code for Turing to Blackwell, and PTX for what comes after. */
const gpuArchitectures = [75, 80, 86, 89, 90, 100, 103, 120]
  .map((version) => `sm_${version}`)
  .concat('compute_80', 'compute_120');

const tarball = process.argv[2] ?? fail('usage: node scripts/build/check-tarball.mjs FILE.tgz');
const unpacked = mkdtempSync(join(tmpdir(), 'pixelcnn-tarball-'));
process.on('exit', () => rmSync(unpacked, { recursive: true, force: true }));
if (!succeeds('tar', ['-xf', tarball, '-C', unpacked])) fail(`${tarball} cannot be unpacked`);
const folder = `${unpacked}/package/`;
const packed = readdirSync(folder, { recursive: true })
  .filter((file) => !statSync(folder + file).isDirectory())
  .sort();
const manifest = readJson('prebuilds/manifest.json') ?? {};
const packageJson = readJson('package.json') ?? {};
const binaries = packed
  .filter((file) => /\.(node|so)(\.|$)/.test(file))
  .map((file) => ({ file, entry: manifest[file.replace('prebuilds/', '')], elf: inspectElf(folder + file) }));
const cudaLibraries = binaries.filter(({ file }) => file.endsWith('libpixelcnn_cuda.so'));

gate('size', `${statSync(tarball).size} bytes`, () =>
  statSync(tarball).size <= largest ? [] : [`more than ${largest} bytes`],
);
gate('files', `${packed.length} files`, () => {
  const expected = expectedFiles();
  const surplus = packed.filter((file) => !expected.has(file)).map((file) => `${file} should not be there`);
  const missing = [...expected].filter((file) => !packed.includes(file)).map((file) => `${file} is missing`);
  return [...surplus, ...missing];
});
gate('scripts', 'nothing runs at installation', () => {
  const found = ['preinstall', 'install', 'postinstall', 'prepare'].filter(
    (name) => packageJson.scripts?.[name],
  );
  return [
    ...found.map((name) => `package.json has a script '${name}'`),
    ...(packed.includes('binding.gyp') ? ['binding.gyp makes npm run node-gyp'] : []),
    ...(packageJson.gypfile === false ? [] : ["package.json lacks 'gypfile: false'"]),
    ...(packageJson.preferUnplugged ? [] : ["package.json lacks 'preferUnplugged'"]),
  ];
});
gate('checksums', `${binaries.length} binaries as in prebuilds/manifest.json`, () =>
  binaries.flatMap(({ file, entry }) => {
    const sha256 = createHash('sha256')
      .update(readFileSync(folder + file))
      .digest('hex');
    return entry?.sha256 === sha256 ? [] : [`${file} has SHA-256 ${sha256}, the manifest ${entry?.sha256}`];
  }),
);
gateBinaries(
  'machine',
  ({ elf }) => elf.machine,
  ({ file, elf }) => {
    const platform = file.split('/')[1];
    return elf.machine === machines[platform] ? [] : [`is for '${elf.machine}'`];
  },
);
gateBinaries(
  'glibc',
  ({ elf }) => elf.glibc,
  ({ elf, entry }) => {
    if (elf.glibc !== entry?.glibc) return [`needs glibc ${elf.glibc}, the manifest says ${entry?.glibc}`];
    const old = elf.glibc === undefined || compareVersions(elf.glibc, sysrootGlibc) <= 0;
    if (old || entry.plainBuild !== undefined) return [];
    return [`needs glibc ${elf.glibc}, newer than ${sysrootGlibc}`];
  },
);
for (const { file, entry } of binaries.filter((binary) => binary.entry?.plainBuild !== undefined))
  skip(`${file} may need a glibc newer than ${sysrootGlibc} (${entry.glibc}): ${entry.plainBuild}`);
gateBinaries(
  'libstdc++',
  () => 'none',
  ({ elf }) =>
    elf.libstdcxx === undefined ? [] : [`needs GLIBCXX_${elf.libstdcxx} of the system's libstdc++`],
);
gateBinaries(
  'symbols',
  () => 'only those of Node-API and versioned ones of the system',
  ({ elf }) =>
    elf.undefinedSymbols
      .filter((name) => !/^napi_/.test(name))
      .map((name) => `needs ${name}, which nothing defines`),
);
gateBinaries(
  'needed',
  ({ elf }) => elf.needed.join(' '),
  ({ elf }) =>
    elf.needed
      .filter((library) => !systemLibraries.test(library))
      .map((library) => `is linked to ${library}`),
);
gateBinaries(
  'search path',
  ({ elf }) => elf.searchPath.join(':'),
  ({ file, elf }) => {
    const path = elf.searchPath.join(':');
    // A library that is opened by its path needs no search path.
    const fits = path === '$ORIGIN' || (path === '' && file.endsWith('.so'));
    return fits ? [] : [`has RUNPATH '${path}' instead of '$ORIGIN'`];
  },
);
gateBinaries(
  'stack',
  ({ elf }) => elf.stack,
  ({ elf }) => (elf.stack === 'RW' ? [] : [`asks for a stack with flags '${elf.stack}' instead of 'RW'`]),
);
gate('gpu', cudaLibraries.length === 0 ? 'no CUDA library' : gpuArchitectures.join(' '), () =>
  cudaLibraries.flatMap(({ file, elf }) => {
    const missing = gpuArchitectures.filter((name) => !elf.gpuArchitectures.includes(name));
    const surplus = elf.gpuArchitectures.filter((name) => !gpuArchitectures.includes(name));
    return [
      ...missing.map((name) => `${file} lacks ${name}`),
      ...surplus.map((name) => `${file} has ${name} as well`),
    ];
  }),
);
if (cudaLibraries.length === 0)
  skip(
    'GPU architectures were not checked: the build made no CUDA library (cmake says whether it found nvcc)',
  );

function gate(name, text, violations) {
  const found = violations();
  if (found.length > 0) process.exitCode = 1;
  const line =
    found.length === 0 ? `✓ ${name}: ${text}` : found.map((what) => `✗ ${name}: ${what}`).join('\n');
  process.stdout.write(`${line}\n`);
}

/** Runs a gate that every binary must pass. */
function gateBinaries(name, textOf, violationsOf) {
  const readable = binaries.filter(({ elf }) => elf !== undefined);
  const texts = new Set(readable.map(textOf));
  gate(name, [...texts].join(', '), () => [
    ...binaries.filter(({ elf }) => elf === undefined).map(({ file }) => `${file} is no ELF file`),
    ...readable.flatMap((binary) => violationsOf(binary).map((what) => `${binary.file} ${what}`)),
  ]);
}

function skip(reason) {
  process.stdout.write(`– SKIPPED: ${reason}\n`);
}

/** Lists the files that the package must have: compiled and native sources, models, and the binaries of the manifest. */
function expectedFiles() {
  const tracked = outputOf('git', ['ls-files', 'src', 'native', 'cuda', 'cmake', 'models']).split('\n');
  const compiled = tracked
    .filter((file) => file.startsWith('src/'))
    .map((file) => file.replace(/^src(.*)\.ts$/, 'dist$1'))
    .flatMap((file) => [`${file}.js`, `${file}.d.ts`]);
  const native = tracked.filter((file) => !file.startsWith('src/'));
  const binaries = Object.keys(manifest).map((file) => `prebuilds/${file}`);
  const singles = ['package.json', 'README.md', 'LICENSE', 'CMakeLists.txt', 'prebuilds/manifest.json'];
  return new Set([...compiled, ...native, ...binaries, ...singles]);
}

function readJson(file) {
  return existsSync(folder + file) ? JSON.parse(readFileSync(folder + file, 'utf8')) : undefined;
}
