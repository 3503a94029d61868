// Tests that the install matrix can fail: an open network, a compiler in reach, a command or a check that fails,
// and a row that takes too long are all noticed.
import { spawn, spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** Standard output of a module that imports from scripts/install-matrix. */
function evaluate(code: string, env: NodeJS.ProcessEnv = process.env): Promise<string> {
  return new Promise((resolve) => {
    const args = ['--input-type=module', '--eval', code];
    const child = spawn(process.execPath, args, { cwd: root, env });
    let output = '';
    child.stdout.on('data', (bytes: Buffer) => {
      output += bytes.toString();
    });
    child.on('close', () => resolve(output.trim()));
  });
}

/** What the check of the network says where the proxy answers every request for a tunnel with `status`. */
async function complaint(status: number, network: string): Promise<string> {
  const proxy = createServer();
  proxy.on('connect', ({ url }, socket) => {
    const allowed = status === 200 || url?.startsWith('registry.test');
    socket.end(`HTTP/1.1 ${allowed ? 200 : status} whatever\r\n\r\n`);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  const { port } = proxy.address() as AddressInfo;
  const code = `import { networkComplaint } from './scripts/install-matrix/network.mjs';
    console.log(await networkComplaint());`;
  const said = await evaluate(code, {
    HTTPS_PROXY: `http://127.0.0.1:${port}`,
    PIXELCNN_REGISTRY: 'https://registry.test/',
    PIXELCNN_NETWORK: network,
  });
  proxy.close();
  return said;
}

it('a proxy that lets other hosts through is noticed, and so is a way round it', async () => {
  expect(await complaint(200, 'proxy')).toBe('the proxy answers 200 for a host that is not the registry');
  expect(await complaint(403, 'proxy')).toBe('undefined');
  expect(await complaint(403, 'namespace')).toBe(
    'a connection that goes round the proxy is not refused at once',
  );
});

it('a compiler in reach is noticed', async () => {
  const command = await evaluate(`import { withoutCompiler } from './scripts/install-matrix/tools.mjs';
    console.log(withoutCompiler);`);
  const run = (path: string | undefined) =>
    spawnSync('/bin/sh', ['-c', command], { env: { PATH: path }, encoding: 'utf8' });
  expect(run(process.env.PATH)).toMatchObject({ status: 1, stdout: expect.stringMatching(/\/cc\n$/) });
  expect(run('/nowhere')).toMatchObject({ status: 0, stdout: '' });
});

it('a row fails with its command and with its check', async () => {
  const code = `import { Rows, require } from './scripts/install-matrix/rows.mjs';
    const rows = new Rows();
    const row = (command, check) => rows.run(command, { folder: '/', env: {}, command, check });
    row('true');
    row('false; true');
    row('echo no', (stdout) => require(stdout === 'yes', 'said ' + stdout));
    console.log(rows.passed, rows.failed);`;
  const output = await evaluate(code);
  expect(output).toMatch(/^✓ true/);
  expect(output).toMatch(/^✗ false; true .*exit code 1$/m);
  expect(output).toMatch(/^✗ echo no .*said no$/m);
  expect(output).toMatch(/1 2$/);
});

it('a row that takes too long is noticed', async () => {
  const code = `import { timeComplaint } from './scripts/install-matrix/rows.mjs';
    console.log(timeComplaint(179, 180), timeComplaint(181, 180));`;
  expect(await evaluate(code)).toBe('undefined took 181 s of 180 s');
});
