// Finds the native binary that fits this machine, and explains in a sentence why none does.
import { createHash } from 'node:crypto';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PixelCnnError } from '../errors.js';
import { errorCode, isError } from '../realm.js';

/** The folder of the package's package.json. */
export const packageRoot = fileURLToPath(new URL('../..', import.meta.url));
const platforms = ['linux-x64', 'linux-arm64'];
const buildIt = '`npx pixelcnn build` builds it from source here';

const gypBuild = createRequire(import.meta.url)('node-gyp-build') as { path(folder: string): string };

/** The properties of a machine that decide whether a binary loads on it. */
export interface Machine {
  /** Node's names, e.g. `linux` and `x64`. */
  readonly platform: string;
  readonly arch: string;
  /** The version of the C library; undefined if it is not glibc. */
  readonly glibc: string | undefined;
}

export function thisMachine(): Machine {
  return { platform: process.platform, arch: process.arch, glibc: glibcVersion() };
}

function glibcVersion(): string | undefined {
  if (process.platform !== 'linux') return undefined;
  const report = process.report.getReport() as { header?: { glibcVersionRuntime?: string } };
  return report.header?.glibcVersionRuntime;
}

/**
 * Finds the binary to load: one that was built here with `pixelcnn build` or in a clone, or else the prebuilt one.
 * @throws PixelCnnError ERR_NATIVE_LOAD.
 */
export function findBinary(): string {
  try {
    return gypBuild.path(packageRoot);
  } catch (cause) {
    throw loadError(cause, undefined);
  }
}

/** Loads the addon. @throws PixelCnnError ERR_NATIVE_LOAD. */
export function loadBinary(): unknown {
  const file = findBinary();
  try {
    return createRequire(import.meta.url)(file);
  } catch (cause) {
    throw loadError(cause, file);
  }
}

/**
 * Lists the files beside a published binary whose SHA-256 is not the published one of prebuilds/manifest.json. Returns
 * undefined for a binary that was built here.
 */
export function changedFiles(binary: string): string[] | undefined {
  const prebuilds = join(packageRoot, 'prebuilds');
  const folder = dirname(binary);
  if (dirname(folder) !== prebuilds) return undefined;
  const manifest = readManifest(join(prebuilds, 'manifest.json'));
  return readdirSync(folder).filter((name) => {
    const bytes = readFileSync(join(folder, name));
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return manifest[`${basename(folder)}/${name}`]?.sha256 !== sha256;
  });
}

/** Reads the checksums of published files. Without a manifest no file counts as published. */
function readManifest(file: string): Record<string, { readonly sha256: string }> {
  if (!existsSync(file)) return {};
  return JSON.parse(readFileSync(file, 'utf8')) as Record<string, { readonly sha256: string }>;
}

function loadError(cause: unknown, file: string | undefined): PixelCnnError {
  const { reason, remedy } = explainLoadFailure(cause, file, thisMachine());
  const message = `could not load the native part of pixelcnn: ${reason}`;
  return new PixelCnnError('ERR_NATIVE_LOAD', message, { remedy, cause });
}

/**
 * Explains why loading `file`, or finding one, failed on a machine, and what to do about it. The cases are in order:
 * each relies on those before it being ruled out.
 */
export function explainLoadFailure(
  cause: unknown,
  file: string | undefined,
  { platform, arch, glibc }: Machine,
): { reason: string; remedy: string } {
  const message = isError(cause) ? cause.message : String(cause);
  const code = errorCode(cause);
  const here = `${platform}-${arch}`;
  if (code === 'ERR_DLOPEN_DISABLED') {
    return {
      reason: 'this Node was started without native addons',
      remedy: 'start it without --no-addons; under the permission model, with --allow-addons',
    };
  }
  if (!platforms.includes(here) && file === undefined) {
    return { reason: `it has binaries for ${platforms.join(' and ')}, and this is ${here}`, remedy: buildIt };
  }
  if (platform === 'linux' && glibc === undefined) {
    return {
      reason:
        'its binaries need glibc, and the C library of this system is another one (musl, as on Alpine?)',
      remedy: `use a system with glibc, e.g. the image node:22-bookworm-slim; or ${buildIt}`,
    };
  }
  if (file === undefined) {
    return {
      reason: `there is no binary for ${here} under ${packageRoot}`,
      remedy:
        'install pixelcnn again; if a bundler moved it, make pixelcnn external there; in a clone run `npm run setup`',
    };
  }
  let header: Buffer;
  try {
    header = readHeader(file);
  } catch (error) {
    return {
      reason: `${file} cannot be read: ${isError(error) ? error.message : String(error)}`,
      remedy: 'let this user read it, or install pixelcnn again as this user',
    };
  }
  const built = targetOf(header);
  if (built === undefined) {
    return { reason: `${file} is damaged: it is no binary of Linux`, remedy: 'install pixelcnn again' };
  }
  if (built.platform !== platform) {
    return {
      reason: `${file} is a binary of ${systems[built.platform]}, and this is ${here}`,
      remedy: `remove it; ${buildIt}`,
    };
  }
  if (platform === 'linux' && built.arch !== arch) {
    return {
      reason: `${file} is for ${built.arch}, and this Node is for ${arch}`,
      remedy: `remove it; ${buildIt}`,
    };
  }
  const needed = /version [`'](GLIBC(?:XX)?_[\d.]+)' not found/.exec(message)?.[1];
  if (needed !== undefined) {
    return {
      reason: `${file} needs ${needed}, and this system has glibc ${glibc}`,
      remedy: `use a newer system; or ${buildIt}`,
    };
  }
  return { reason: message, remedy: `install pixelcnn again; or ${buildIt}` };
}

/** Reads the first bytes of a file, fewer if it is shorter. */
function readHeader(file: string): Buffer {
  const header = Buffer.alloc(20);
  const descriptor = openSync(file, 'r');
  try {
    return header.subarray(0, readSync(descriptor, header));
  } finally {
    closeSync(descriptor);
  }
}

const systems = { linux: 'Linux', darwin: 'macOS', win32: 'Windows' } as const;

/** Returns the platform that a binary was built for, in Node's names; undefined if it is no binary or cut short. */
function targetOf(header: Buffer): { platform: keyof typeof systems; arch?: string } | undefined {
  if (header.length < 20) return undefined;
  if (header.readUInt32BE(0) === 0x7f454c46) {
    const machine = header.readUInt16LE(18);
    return { platform: 'linux', arch: { 62: 'x64', 183: 'arm64' }[machine] ?? `ELF machine ${machine}` };
  }
  // These are the magic numbers of 64-bit Mach-O files and of universal files, which contain several.
  if ([0xcffaedfe, 0xcafebabe].includes(header.readUInt32BE(0))) return { platform: 'darwin' };
  if (header.toString('latin1', 0, 2) === 'MZ') return { platform: 'win32' };
  return undefined;
}
