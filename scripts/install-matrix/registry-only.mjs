// Runs a command in a network from which only the npm registry can be reached. The only way out is a proxy, which
// refuses every other host. The command reads from PIXELCNN_NETWORK (`namespace`, or `proxy` where namespaces are
// not permitted) and PIXELCNN_REGISTRY what it has. Usage: node registry-only.mjs COMMAND ARGUMENT …
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { outputOf, succeeds } from '../steps.mjs';

const port = 4873;
const address = `http://127.0.0.1:${port}`;
const variables = ['HTTP_PROXY', 'HTTPS_PROXY', 'http_proxy', 'https_proxy'];
const self = fileURLToPath(import.meta.url);

const [first, ...rest] = process.argv.slice(2);
if (first === '--bridge') createServer((client) => relay(client, connect(rest[0]))).listen(port, '127.0.0.1');
else process.exitCode = await runIsolated(first, rest);

/** Runs the command and returns its exit code. Without namespaces only the proxy variables keep it from the network. */
async function runIsolated(command, args) {
  const registry = new URL(outputOf('npm', ['config', 'get', 'registry']));
  const namespaces = succeeds('unshare', ['--net', 'ip', 'link', 'set', 'lo', 'up']);
  const folder = mkdtempSync(join(tmpdir(), 'pixelcnn-registry-'));
  const socket = join(folder, 'proxy');
  const proxy = createHttpServer((_, response) => response.writeHead(403).end());
  proxy.on('connect', ({ url }, client) => {
    const allowed = `${registry.hostname}:${registry.port || 443}`;
    if (url !== allowed) {
      client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    const upstream = connect(Number(registry.port || 443), registry.hostname, () =>
      client.write('HTTP/1.1 200 Connection established\r\n\r\n'),
    );
    relay(client, upstream);
  });
  await new Promise((resolve) => proxy.listen(namespaces ? socket : port, resolve));

  const env = {
    ...process.env,
    ...Object.fromEntries(variables.map((name) => [name, address])),
    PIXELCNN_NETWORK: namespaces ? 'namespace' : 'proxy',
    PIXELCNN_REGISTRY: registry.href,
  };
  // A socket in the file system is reached from any network namespace; the bridge makes it a port of this one.
  const script = 'ip link set lo up; "$0" "$1" --bridge "$2" & shift 2; "$@"; code=$?; kill $!; exit $code';
  const child = namespaces
    ? spawn('unshare', ['--net', 'sh', '-c', script, process.execPath, self, socket, command, ...args], {
        stdio: 'inherit',
        env,
      })
    : spawn(command, args, { stdio: 'inherit', env });
  const code = await new Promise((resolve) => child.on('close', resolve));
  proxy.close();
  proxy.closeAllConnections();
  rmSync(folder, { recursive: true });
  return code ?? 1;
}

/** Passes bytes both ways until either side ends. */
function relay(a, b) {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ]) {
    from.pipe(to);
    from.on('error', () => to.destroy());
    from.on('close', () => to.end());
  }
}
