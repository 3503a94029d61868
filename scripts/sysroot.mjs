// An older C library to link against: Debian 11's (glibc 2.31), fetched with apt into .cache/sysroot-ARCH of the clone.
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { outputOf, root, succeeds } from './steps.mjs';

/** The C library of the sysroot. */
export const sysrootGlibc = '2.31';
const release = 'bullseye';
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';
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
  const mirror = debianMirror();
  if (mirror === undefined)
    return {
      reason: 'this machine has no Debian mirror among its apt sources to take an older C library from',
    };
  rmSync(paths.folder, { recursive: true, force: true });
  const apt = `${paths.folder}/apt`;
  for (const folder of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(`${apt}/${folder}`, { recursive: true });
  const { debian } = architectures[arch];
  writeFileSync(
    `${apt}/sources.list`,
    `deb [arch=${debian} signed-by=${keyring}] ${mirror} ${release} main\n`,
  );
  const options = {
    'Dir::State': `${apt}/state`,
    'Dir::State::status': '/dev/null',
    'Dir::Cache': `${apt}/cache`,
    'Dir::Etc::SourceList': `${apt}/sources.list`,
    'Dir::Etc::SourceParts': '-',
    'APT::Architecture': debian,
    'APT::Architectures': debian,
    'APT::Sandbox::User': 'root',
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
  const debs = () => readdirSync(`${apt}/cache/archives`).filter((name) => name.endsWith('.deb'));
  const fetched =
    succeeds('apt-get', [...flags, 'update', '-qq']) &&
    succeeds('apt-get', [
      ...flags,
      'install',
      '--download-only',
      '-y',
      '-qq',
      '--no-install-recommends',
      ...packages,
    ]);
  if (!fetched) return { reason: `Debian's mirror did not give the C library of ${release} for ${debian}` };
  for (const deb of debs()) {
    if (!succeeds('dpkg-deb', ['-x', `${apt}/cache/archives/${deb}`, paths.folder]))
      return { reason: `dpkg-deb could not unpack ${deb}` };
  }
  rmSync(apt, { recursive: true });
  makeLinksRelative(paths.folder);
  writeFileSync(`${paths.folder}/complete`, '');
  return paths;
}

/** The mirror that this machine's own apt uses for Debian, whatever it is. */
function debianMirror() {
  if (!existsSync(keyring)) return undefined;
  const filters = ['Origin: Debian', 'Label: Debian', 'Created-By: Packages'];
  const find = () =>
    outputOf('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...filters])?.split('\n')[0] || undefined;
  // Who is behind a source is known once its lists have been fetched.
  return find() ?? (succeeds('apt-get', ['update', '-qq']) ? find() : undefined);
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
