// Tests the gates of the packed package: the tarball passes all of them, and each notices what it is there for.
import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { appendFileSync, cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { packageRoot, requirePrebuilds } from '../helpers/built-package.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const work = temporaryFolder('gates');
const addon = 'prebuilds/linux-x64/pixelcnn.glibc.node';
const library = 'prebuilds/linux-x64/libpixelcnn_cuda.so';
let tarball: string;

beforeAll(() => {
  requirePrebuilds();
  const name = execFileSync('npm', ['pack', '--silent', '--pack-destination', work], {
    cwd: packageRoot,
    encoding: 'utf8',
  });
  tarball = join(work, name.trim());
  execFileSync('tar', ['-xzf', tarball, '-C', work]);
}, 120_000);

function check(file: string) {
  const { status, stdout } = spawnSync(process.execPath, ['scripts/build/check-tarball.mjs', file], {
    cwd: packageRoot,
    encoding: 'utf8',
  });
  const failed = [...stdout.matchAll(/^✗ ([^:]+): (.*)$/gm)].map((match) => `${match[1]}: ${match[2]}`);
  return { status, stdout, failed };
}

/** The failures of a tarball whose folder `change` has changed. */
function planted(change: (folder: string) => void): string[] {
  const copy = mkdtempSync(join(tmpdir(), 'pixelcnn-planted-'));
  try {
    cpSync(join(work, 'package'), join(copy, 'package'), { recursive: true });
    change(join(copy, 'package'));
    execFileSync('tar', ['-czf', join(copy, 'planted.tgz'), '-C', copy, 'package']);
    const { status, failed } = check(join(copy, 'planted.tgz'));
    expect(status).toBe(failed.length === 0 ? 0 : 1);
    return failed;
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Puts a file in the place of a binary, as if prebuild had made it: the manifest agrees with it. */
function place(folder: string, name: string, bytes: Uint8Array, glibc?: string, plainBuild?: string): void {
  writeFileSync(join(folder, name), bytes);
  const file = join(folder, 'prebuilds/manifest.json');
  const manifest = JSON.parse(readFileSync(file, 'utf8')) as Record<string, object>;
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  manifest[name.replace('prebuilds/', '')] = { bytes: bytes.length, sha256, glibc, plainBuild };
  writeFileSync(file, JSON.stringify(manifest));
}

const good = ['-Wl,-rpath,$ORIGIN', '-Wl,-z,noexecstack'];

/** A shared library of one C source. */
function compile(source: string, flags: readonly string[] = good): Buffer {
  const [input, output] = [join(work, 'planted.c'), join(work, 'planted.so')];
  writeFileSync(input, source);
  execFileSync('cc', ['-shared', '-fPIC', '-o', output, input, ...flags]);
  return readFileSync(output);
}

const harmless = 'int answer(void) { return 42; }';

it('the tarball passes every gate, and says which it could not apply', () => {
  const { status, stdout, failed } = check(tarball);
  expect(failed).toEqual([]);
  expect(status).toBe(0);
  for (const line of stdout.split('\n')) if (line.includes('SKIPPED')) console.warn(line);
  console.info(stdout);
});

describe('a planted violation is noticed', () => {
  it('of the list of files', () => {
    expect(
      planted((folder) => {
        writeFileSync(join(folder, 'dist/stray.js'), '');
        rmSync(join(folder, 'dist/index.d.ts'));
      }),
    ).toEqual(['files: dist/stray.js should not be there', 'files: dist/index.d.ts is missing']);
  });

  it('of the rule that nothing runs at installation', () => {
    const failed = planted((folder) => {
      const file = join(folder, 'package.json');
      const packageJson = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
      packageJson.scripts = { postinstall: 'node-gyp-build' };
      delete packageJson.preferUnplugged;
      writeFileSync(file, JSON.stringify(packageJson));
      writeFileSync(join(folder, 'binding.gyp'), '{}');
    });
    expect(failed).toContain("scripts: package.json has a script 'postinstall'");
    expect(failed).toContain('scripts: binding.gyp makes npm run node-gyp');
    expect(failed).toContain("scripts: package.json lacks 'preferUnplugged'");
  });

  it('of the size', () => {
    const failed = planted((folder) => writeFileSync(join(folder, 'dist/large.js'), randomBytes(16e6)));
    expect(failed).toContain('size: more than 15000000 bytes');
  });

  it('of the checksums', () => {
    const failed = planted((folder) => appendFileSync(join(folder, addon), '!'));
    expect(failed).toEqual([expect.stringMatching(/^checksums: .*pixelcnn\.glibc\.node has SHA-256/)]);
  });

  it('of the processor', () => {
    const arm = readFileSync(join(work, 'package/prebuilds/linux-arm64/pixelcnn.glibc.node'));
    const manifest = JSON.parse(readFileSync(join(work, 'package/prebuilds/manifest.json'), 'utf8'));
    const { glibc } = manifest['linux-arm64/pixelcnn.glibc.node'];
    const failed = planted((folder) => place(folder, addon, arm, glibc));
    expect(failed).toEqual([`machine: ${addon} is for 'AArch64'`]);
  });

  it('of the C library', () => {
    const source = 'unsigned arc4random(void); unsigned draw(void) { return arc4random(); }';
    expect(planted((folder) => place(folder, addon, compile(source), '2.36'))).toEqual([
      `glibc: ${addon} needs glibc 2.36, newer than 2.31`,
    ]);
    expect(planted((folder) => place(folder, addon, compile(source), '2.29'))).toEqual([
      `glibc: ${addon} needs glibc 2.36, the manifest says 2.29`,
    ]);
  });

  it('of the C library, unless the manifest says why there was no older one to link against', () => {
    const source = 'unsigned arc4random(void); unsigned draw(void) { return arc4random(); }';
    expect(planted((folder) => place(folder, addon, compile(source), '2.36', 'no mirror'))).toEqual([]);
  });

  it('of the C++ library', () => {
    const source =
      '__asm__(".symver draw,_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.30");';
    const code = `${source} void draw(void); void use(void) { draw(); }`;
    const failed = planted((folder) => place(folder, addon, compile(code, [...good, '-l:libstdc++.so.6'])));
    expect(failed).toContain(`libstdc++: ${addon} needs GLIBCXX_3.4.30 of the system's libstdc++`);
    expect(failed).toContain(`needed: ${addon} is linked to libstdc++.so.6`);
  });

  it('of the symbols: one that only a newer library defines, unversioned', () => {
    const code =
      'void __throw_bad_array_new_length(void); void use(void) { __throw_bad_array_new_length(); }';
    expect(planted((folder) => place(folder, addon, compile(code)))).toEqual([
      `symbols: ${addon} needs __throw_bad_array_new_length, which nothing defines`,
    ]);
  });

  it('of the libraries linked to: CUDA and cuDNN are opened at run time', () => {
    const driver = compile('void cuInit(void) {}', ['-Wl,-soname,libcuda.so.1']);
    const name = join(work, 'libcuda.so');
    writeFileSync(name, driver);
    const code = 'void cuInit(void); void use(void) { cuInit(); }';
    const failed = planted((folder) => place(folder, addon, compile(code, [...good, name])));
    expect(failed).toContain(`needed: ${addon} is linked to libcuda.so.1`);
  });

  it('of the search path and of the stack', () => {
    const flags = ['-Wl,-rpath,/usr/local/cuda/lib64', '-Wl,-z,execstack'];
    expect(planted((folder) => place(folder, addon, compile(harmless, flags)))).toEqual([
      `search path: ${addon} has RUNPATH '/usr/local/cuda/lib64' instead of '$ORIGIN'`,
      `stack: ${addon} asks for a stack with flags 'RWE' instead of 'RW'`,
    ]);
  });

  it('of the GPU architectures', () => {
    const fatbin = join(work, 'fatbin');
    writeFileSync(
      fatbin,
      fatBinary([
        [2, 80],
        [1, 80],
      ]),
    );
    const plain = join(work, 'plain.so');
    writeFileSync(plain, compile(harmless));
    const withGpu = join(work, 'gpu.so');
    execFileSync('objcopy', ['--add-section', `.nv_fatbin=${fatbin}`, plain, withGpu]);
    const failed = planted((folder) => place(folder, library, readFileSync(withGpu)));
    expect(failed).toContain(`gpu: ${library} lacks sm_90`);
    expect(failed).not.toContain(`gpu: ${library} lacks sm_80`);
    expect(failed).not.toContain(`gpu: ${library} lacks compute_80`);
  });
});

/** A fat binary with empty entries of [kind, architecture]: kind 1 is PTX, 2 machine code. */
function fatBinary(entries: readonly [number, number][]): Buffer {
  const header = Buffer.alloc(16);
  header.writeUInt32LE(0xba55ed50, 0);
  header.writeUInt16LE(1, 4);
  header.writeUInt16LE(16, 6);
  header.writeBigUInt64LE(BigInt(64 * entries.length), 8);
  const bodies = entries.map(([kind, architecture]) => {
    const entry = Buffer.alloc(64);
    entry.writeUInt16LE(kind, 0);
    entry.writeUInt32LE(64, 4);
    entry.writeUInt32LE(architecture, 28);
    return entry;
  });
  return Buffer.concat([header, ...bodies]);
}
