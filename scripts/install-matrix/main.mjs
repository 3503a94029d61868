// Installs the packed package in the usual ways, in empty folders, with no compiler and no network but the
// registry.
// Usage: node scripts/install-matrix/main.mjs [FILE.tgz]   (without a file: what `npm run prebuild` and `npm pack` make)
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { fetchSysroot, sysrootGlibc } from '../build/sysroot.mjs';
import { npmCommand, outputOf, root, step } from '../steps.mjs';
import { requireTools } from '../tools.mjs';
import { networkComplaint } from './network.mjs';
import { readerRows } from './reader-rows.mjs';
import { Rows, require } from './rows.mjs';
import { arm64Node, installTools, makePath, nodeBinary, withoutCompiler } from './tools.mjs';

const self = fileURLToPath(import.meta.url);
if (process.env.PIXELCNN_NETWORK === undefined) {
  requireTools(['iproute2', 'qemu'], 'the install matrix');
  installTools();
  const tarball = process.argv[2] === undefined ? pack() : resolve(process.argv[2]);
  step('install matrix', 'node', ['scripts/install-matrix/registry-only.mjs', 'node', self, tarball], {
    show: true,
  });
} else {
  process.exitCode = (await runMatrix(process.argv[2])) ? 0 : 1;
}

function pack() {
  step('prebuilds', 'node', ['scripts/build/prebuild.mjs'], { show: true });
  step('TypeScript build', npmCommand('tsc'), ['-p', 'tsconfig.build.json']);
  mkdirSync(`${root}.cache/pack`, { recursive: true });
  const [{ filename }] = JSON.parse(outputOf('npm', ['pack', '--json', '--pack-destination', '.cache/pack']));
  return `${root}.cache/pack/${filename}`;
}

/** Runs all rows, inside a network that has only the registry. Returns whether every row passed. */
async function runMatrix(tarball) {
  const work = mkdtempSync(join(tmpdir(), 'pixelcnn-matrix-'));
  process.on('exit', () => rmSync(work, { recursive: true, force: true }));
  const rows = new Rows();
  if (process.env.PIXELCNN_NETWORK === 'proxy')
    rows.skip(
      'a network namespace',
      'not permitted here; the proxy variables alone keep installations to the registry',
    );
  rows.record('the network ends at the registry', await networkComplaint());

  /** Returns a user's environment: one Node, one npm, no compiler, a home folder. */
  const user = (node, npm) => ({
    ...process.env,
    HOME: work,
    PATH: makePath(`${work}/bin-${node}-${npm}`, { node, npm }),
    npm_config_cache: `${work}/npm-cache`,
  });
  const [node20, node22, node24] = [20, 22, 24].map((node) => user(node, 11));
  const folderFor = (name) => {
    const folder = `${work}/${name}`;
    cpSync(`${root}test/package/consumers`, folder, { recursive: true });
    cpSync(tarball, `${folder}/pixelcnn.tgz`);
    writeFileSync(`${folder}/package.json`, JSON.stringify({ private: true, type: 'module' }));
    return folder;
  };

  // Every row must run a prebuilt binary, and on one machine a seed draws the same image in all of them.
  let image;
  const drew = (node) => (stdout) => {
    const result = JSON.parse(stdout.trim().split('\n').at(-1));
    require(result.node.startsWith(`v${node}.`), `ran on Node ${result.node}`);
    require(result.binary?.endsWith('prebuilds/linux-x64/pixelcnn.glibc.node'), `ran ${result.binary}`);
    image ??= result.sha256;
    require(result.sha256 === image, `drew ${result.sha256} instead of ${image}`);
  };

  const folder = folderFor('npm');
  const inFolder = (name, env, command, check) => rows.run(name, { folder, env, command, check });
  inFolder('no compiler is in reach', node20, withoutCompiler);
  const consumers = './pixelcnn.tgz typescript@6.0.3 @types/node@20 esbuild@0.28.2';
  inFolder('npm 11 --ignore-scripts, Node 20.19', node20, `npm install --ignore-scripts ${consumers}`);
  for (const [node, env] of [
    [20, node20],
    [22, node22],
    [24, node24],
  ]) {
    inFolder(`import, Node ${node}`, env, 'node import.mjs', drew(node));
    inFolder(`require(), Node ${node}`, env, 'node require.cjs', drew(node));
    inFolder(`worker_threads, Node ${node}`, env, 'node worker.mjs', drew(node));
  }
  inFolder('npx pixelcnn doctor --json', node20, 'npx --no-install pixelcnn doctor --json', (stdout) => {
    const { healthy, findings } = JSON.parse(stdout);
    const binary = findings.find(({ name }) => name === 'binary');
    require(healthy && binary?.state === 'ok' && binary.text.includes('SHA-256'), stdout);
  });
  const tsc = 'npx --no-install tsc --noEmit --strict --target es2023 --types node typed.ts';
  inFolder('TypeScript strict, nodenext', node20, `${tsc} --module nodenext`);
  inFolder('TypeScript strict, bundler', node20, `${tsc} --module esnext --moduleResolution bundler`);
  const esbuild =
    'npx --no-install esbuild import.mjs --bundle --platform=node --format=esm --external:pixelcnn';
  inFolder('esbuild, external', node20, `${esbuild} --outfile=bundle.mjs\nnode bundle.mjs`, drew(20));

  const yarn = (nodeLinker) => ({
    nodeLinker,
    enableTelemetry: false,
    httpsProxy: process.env.HTTPS_PROXY,
    npmRegistryServer: process.env.PIXELCNN_REGISTRY,
  });
  for (const { name, env = node22, install, run = 'node import.mjs', yarnrc } of [
    { name: 'npm 12', env: user(22, 12), install: 'npm install ./pixelcnn.tgz' },
    { name: 'pnpm 12', install: 'pnpm add ./pixelcnn.tgz' },
    {
      name: 'yarn 4, node-modules',
      install: 'yarn add pixelcnn@file:./pixelcnn.tgz',
      yarnrc: yarn('node-modules'),
    },
    {
      name: 'yarn 4, PnP',
      install: 'yarn add pixelcnn@file:./pixelcnn.tgz',
      run: 'yarn node import.mjs',
      yarnrc: yarn('pnp'),
    },
  ]) {
    const empty = folderFor(name.replace(/\W+/g, '-'));
    // JSON is valid YAML. The empty lock file makes yarn take the folder for a project.
    if (yarnrc !== undefined) {
      writeFileSync(`${empty}/.yarnrc.yml`, JSON.stringify(yarnrc));
      writeFileSync(`${empty}/yarn.lock`, '');
    }
    rows.run(`${name}, Node 22`, { folder: empty, env, command: `${install}\n${run}`, check: drew(22) });
  }

  const here = { folder: root, env: process.env };
  rows.run('publint --strict', { ...here, command: `${npmCommand('publint')} --strict ${tarball}` });
  rows.run('attw --profile esm-only', {
    ...here,
    command: `${npmCommand('attw')} --profile esm-only ${tarball}`,
  });

  const old = fetchSysroot('x64');
  if (old.reason !== undefined) rows.skip(`glibc ${sysrootGlibc}`, old.reason);
  else {
    const loader = `${old.loader} --library-path ${old.libraries.join(':')} ${nodeBinary(20)}`;
    inFolder(`glibc ${sysrootGlibc}, Node 20`, node20, `${loader} import.mjs`, (stdout) => {
      drew(20)(stdout);
      require(JSON.parse(stdout).glibc === sysrootGlibc, `ran on ${stdout}`);
    });
  }
  const arm64 = fetchSysroot('arm64');
  if (arm64.reason !== undefined) rows.skip('arm64 under qemu', arm64.reason);
  else {
    const emulator = `qemu-aarch64-static -L ${arm64.folder} ${arm64Node}`;
    inFolder('arm64 under qemu, Node 20', process.env, `${emulator} import.mjs`, (stdout) => {
      const { arch, instructionSet, binary } = JSON.parse(stdout);
      require(arch === 'arm64' && instructionSet === 'neon', `ran on ${arch} with ${instructionSet}`);
      require(binary.endsWith('prebuilds/linux-arm64/pixelcnn.glibc.node'), `ran ${binary}`);
    });
  }

  await readerRows(rows, { work, env: node22, tarball });

  process.stdout.write(`\n${rows.passed} passed, ${rows.failed} failed\n`);
  return rows.failed === 0;
}
