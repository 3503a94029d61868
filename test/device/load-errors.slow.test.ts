// Tests every way in which the native part can fail to load: importing works, opening a device explains, doctor has
// a fix.
import { spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { explainLoadFailure, type Machine } from '../../src/device/native-binary.js';
import { packageCopy, packageRoot, requirePrebuilds } from '../helpers/built-package.js';

const children = join(packageRoot, 'test/device/children');
const folder = packageCopy('load', ['dist', 'package.json']);
const here = `linux-${process.arch}`;
const prebuilt = join(folder, 'prebuilds', here, 'pixelcnn.glibc.node');

beforeAll(requirePrebuilds);

beforeEach(() => {
  for (const part of ['build', 'prebuilds']) rmSync(join(folder, part), { recursive: true, force: true });
  cpSync(join(packageRoot, 'prebuilds'), join(folder, 'prebuilds'), { recursive: true });
});

interface Setting {
  readonly nodeArgs?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A dynamic loader with its arguments, to run Node on another C library. */
  readonly loader?: readonly string[];
}

function node(args: readonly string[], { nodeArgs = [], env = {}, loader = [] }: Setting) {
  const [command = '', ...rest] = [...loader, process.execPath, ...nodeArgs, ...args];
  const { status, stdout, stderr } = spawnSync(command, rest, {
    env: { PATH: process.env.PATH, ...env },
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

/** What opening a device says in a process of its own. Importing the package must have worked. */
function load(setting: Setting = {}): Record<string, unknown> {
  const { status, stdout, stderr } = node([join(children, 'load.mjs'), folder], setting);
  expect([status, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Record<string, unknown>;
}

interface Finding {
  readonly name: string;
  readonly state: string;
  readonly text: string;
  readonly fix?: string;
}

/** The failed findings of doctor; each must have a fix, and any makes the exit code 1. */
function diagnosed(setting: Setting = {}): Finding[] {
  const { status, stdout } = node([join(folder, 'dist/cli/main.js'), 'doctor', '--json'], setting);
  const { findings } = JSON.parse(stdout) as { findings: Finding[] };
  const failed = findings.filter(({ state }) => state === 'failed');
  expect(status).toBe(failed.length === 0 ? 0 : 1);
  for (const { name, fix } of failed) expect(fix, name).toMatch(/^[^\n]+$/);
  return failed;
}

const failure = (reason: RegExp, remedy: RegExp) => ({
  name: 'PixelCnnError',
  code: 'ERR_NATIVE_LOAD',
  message: expect.stringMatching(reason),
  remedy: expect.stringMatching(remedy),
});

describe('a package whose native part', () => {
  it('is as published', () => {
    expect(load()).toEqual({ opened: true });
    expect(diagnosed()).toEqual([]);
  });

  it('is missing', () => {
    rmSync(join(folder, 'prebuilds'), { recursive: true });
    expect(load()).toEqual(failure(/there is no binary for linux-/, /install pixelcnn again; if a bundler/));
    expect(diagnosed()).toEqual([expect.objectContaining({ name: 'binary' })]);
  });

  it('may not be loaded: --no-addons', () => {
    const setting = { nodeArgs: ['--no-addons'] };
    expect(load(setting)).toEqual(failure(/started without native addons/, /without --no-addons/));
    expect(diagnosed(setting)).toEqual([expect.objectContaining({ name: 'addon' })]);
  });

  it('is for glibc, on a system with another C library', () => {
    const setting = { nodeArgs: ['--import', join(children, 'musl.mjs')], env: { LIBC: 'musl' } };
    expect(load(setting)).toEqual(failure(/need glibc/, /node:22-bookworm-slim; or `npx pixelcnn build`/));
    expect(diagnosed(setting)).toEqual([expect.objectContaining({ name: 'binary' })]);
  });

  it('is for another processor', () => {
    const other = process.arch === 'x64' ? 'arm64' : 'x64';
    mkdirSync(join(folder, 'build/Release'), { recursive: true });
    cpSync(
      join(packageRoot, `prebuilds/linux-${other}/pixelcnn.glibc.node`),
      join(folder, 'build/Release/pixelcnn.node'),
    );
    expect(load()).toEqual(
      failure(new RegExp(`is for ${other}, and this Node is for ${process.arch}`), /remove it/),
    );
    expect(diagnosed()).toEqual([expect.objectContaining({ name: 'addon' })]);
  });

  it('is damaged', () => {
    writeFileSync(prebuilt, 'a page that says the file was not found');
    expect(load()).toEqual(failure(/is damaged/, /install pixelcnn again/));
    expect(diagnosed()).toEqual([expect.objectContaining({ name: 'binary' })]);
  });

  it('loads but is not what was published', () => {
    appendFileSync(prebuilt, '!');
    expect(load()).toEqual({ opened: true });
    const [finding, ...others] = diagnosed();
    expect(finding).toMatchObject({
      name: 'binary',
      text: expect.stringContaining('differs from what was published'),
    });
    expect(others).toEqual([]);
  });

  it('needs a newer glibc', ({ skip }) => {
    const sysroot = join(packageRoot, `.cache/sysroot-${process.arch}`);
    if (!existsSync(join(sysroot, 'complete'))) {
      console.warn('SKIPPED a real run on an older glibc: `npm run prebuild` could not fetch one');
      skip();
    }
    mkdirSync(join(folder, 'build/Release'), { recursive: true });
    const [source, addon] = [join(folder, 'new.c'), join(folder, 'build/Release/pixelcnn.node')];
    writeFileSync(source, 'unsigned arc4random(void); unsigned draw(void) { return arc4random(); }');
    expect(spawnSync('cc', ['-shared', '-fPIC', '-o', addon, source]).status).toBe(0);
    const triplet = process.arch === 'x64' ? 'x86_64-linux-gnu' : 'aarch64-linux-gnu';
    const loader = process.arch === 'x64' ? 'lib64/ld-linux-x86-64.so.2' : 'lib/ld-linux-aarch64.so.1';
    const libraries = [`lib/${triplet}`, `usr/lib/${triplet}`].map((part) => join(sysroot, part)).join(':');
    expect(load({ loader: [join(sysroot, loader), '--library-path', libraries] })).toEqual(
      failure(
        /needs GLIBC_2\.36, and this system has glibc 2\.31/,
        /use a newer system; or `npx pixelcnn build`/,
      ),
    );
  });
});

describe('explanations that need another machine', () => {
  it.each([
    {
      name: 'a platform without binaries',
      machine: { platform: 'darwin', arch: 'arm64', glibc: undefined },
      reason: 'it has binaries for linux-x64 and linux-arm64, and this is darwin-arm64',
      remedy: '`npx pixelcnn build` builds it from source here',
    },
    {
      name: 'Linux on a processor without binaries',
      machine: { platform: 'linux', arch: 'riscv64', glibc: '2.36' },
      reason: 'it has binaries for linux-x64 and linux-arm64, and this is linux-riscv64',
      remedy: '`npx pixelcnn build` builds it from source here',
    },
  ])('$name', ({ machine, reason, remedy }) => {
    expect(explainLoadFailure(new Error('No native build was found'), undefined, machine)).toEqual({
      reason,
      remedy,
    });
  });
});

describe('a binary that fails to load', () => {
  const [arch, other] = ['x64', 'arm64'];
  const machine = { platform: 'linux', arch, glibc: '2.36' };
  const file = join(folder, 'some.node');
  const elf = Buffer.alloc(64);
  elf.write('\x7fELF', 'latin1');
  elf.writeUInt16LE(183, 18);
  const explain = (content: Uint8Array, on: Machine = machine) => {
    writeFileSync(file, content);
    return explainLoadFailure(new Error('dlopen failed'), file, on);
  };

  it.each([
    ['macOS', Buffer.concat([Buffer.from('cffaedfe0c000001', 'hex'), Buffer.alloc(64)])],
    ['macOS', Buffer.concat([Buffer.from('cafebabe00000002', 'hex'), Buffer.alloc(64)])],
    ['Windows', Buffer.concat([Buffer.from('MZ'), Buffer.alloc(64)])],
  ])('is named as one of %s', (system, content) => {
    expect(explain(content)).toEqual({
      reason: `${file} is a binary of ${system}, and this is linux-${arch}`,
      remedy: expect.stringContaining('remove it; `npx pixelcnn build`'),
    });
  });

  it('is not blamed for its format where that fits', () => {
    const mac = { platform: 'darwin', arch: 'arm64', glibc: undefined };
    const content = Buffer.concat([Buffer.from('cffaedfe0c000001', 'hex'), Buffer.alloc(64)]);
    expect(explain(content, mac).reason).toBe('dlopen failed');
    expect(explain(elf, { ...machine, arch: other }).reason).toBe('dlopen failed');
    expect(explain(elf).reason).toBe(`${file} is for ${other}, and this Node is for ${arch}`);
    expect(explain(elf.subarray(0, 19)).reason).toContain('is damaged');
  });

  it('may be unreadable', () => {
    // A folder is unreadable to root too.
    expect(explainLoadFailure(new Error('dlopen failed'), folder, machine)).toEqual({
      reason: expect.stringMatching(/pixelcnn-load-\w+\/pixelcnn cannot be read: E[A-Z]+: /),
      remedy: expect.stringContaining('let this user read it'),
    });
  });
});
