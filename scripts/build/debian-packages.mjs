// Unpacks packages of any release of Debian, with those they depend on, into a folder. It uses this machine's apt,
// installs nothing and need not run as root.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { outputOf, succeeds } from '../steps.mjs';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Empties a folder and unpacks packages of an architecture (Debian's name) into it. If it fails, returns the reason. */
export function unpackPackages({ folder, release, debian, packages }) {
  const mirror = debianMirror();
  if (mirror === undefined)
    return `this machine has no Debian mirror among its apt sources to take packages of ${release} from`;
  rmSync(folder, { recursive: true, force: true });
  const apt = `${folder}/apt`;
  for (const name of ['state/lists/partial', 'cache/archives/partial'])
    mkdirSync(`${apt}/${name}`, { recursive: true });
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
  const install = ['install', '--download-only', '-y', '-qq', '--no-install-recommends', ...packages];
  if (!succeeds('apt-get', [...flags, 'update', '-qq']) || !succeeds('apt-get', [...flags, ...install]))
    return `Debian's mirror did not give ${packages.join(', ')} of ${release} for ${debian}`;
  for (const deb of readdirSync(`${apt}/cache/archives`).filter((name) => name.endsWith('.deb'))) {
    if (!succeeds('dpkg-deb', ['-x', `${apt}/cache/archives/${deb}`, folder]))
      return `dpkg-deb could not unpack ${deb}`;
  }
  rmSync(apt, { recursive: true });
  return undefined;
}

/** Returns the mirror that this machine's own apt uses for Debian. */
function debianMirror() {
  if (!existsSync(keyring)) return undefined;
  const filters = ['Origin: Debian', 'Label: Debian', 'Created-By: Packages'];
  const find = () =>
    outputOf('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...filters])?.split('\n')[0] || undefined;
  // The lists of a source say which distribution it is, so they must be fetched first.
  return find() ?? (succeeds('apt-get', ['update', '-qq']) ? find() : undefined);
}
