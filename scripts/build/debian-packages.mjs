// Packages of any release of Debian, with what they depend on, unpacked into a folder by this machine's apt: nothing is
// installed, and it need not be root.
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { outputOf, succeeds } from '../steps.mjs';

const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg';

/** Unpacks packages of an architecture (Debian's name) into a folder, which is emptied. Returns why not, if so. */
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

/** The mirror that this machine's own apt uses for Debian, whatever it is. */
function debianMirror() {
  if (!existsSync(keyring)) return undefined;
  const filters = ['Origin: Debian', 'Label: Debian', 'Created-By: Packages'];
  const find = () =>
    outputOf('apt-get', ['indextargets', '--format', '$(REPO_URI)', ...filters])?.split('\n')[0] || undefined;
  // Who is behind a source is known once its lists have been fetched.
  return find() ?? (succeeds('apt-get', ['update', '-qq']) ? find() : undefined);
}
