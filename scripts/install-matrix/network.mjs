// Checks that the matrix runs where registry-only.mjs promised, in a network where only the registry answers.
import { connect } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

/** Returns undefined if the network is cut off as promised, else what is wrong. */
export async function networkComplaint() {
  const proxy = new URL(process.env.HTTPS_PROXY);
  const registry = new URL(process.env.PIXELCNN_REGISTRY);
  const authority = `${registry.hostname}:${registry.port || 443}`;
  for (let attempt = 0; (await tunnel(proxy, authority)) !== 200; attempt += 1) {
    if (attempt === 50) return `the registry cannot be reached through ${proxy.host}`;
    await wait(100);
  }
  const other = await tunnel(proxy, 'example.org:443');
  if (other !== 403) return `the proxy answers ${other} for a host that is not the registry`;
  if (process.env.PIXELCNN_NETWORK === 'namespace' && (await opens('192.0.2.1')))
    return 'a connection that goes round the proxy is not refused at once';
  return undefined;
}

/** Returns the status with which the proxy answers a request for a tunnel, or undefined without an answer. */
function tunnel(proxy, authority) {
  return new Promise((resolve) => {
    const socket = connect(Number(proxy.port), proxy.hostname, () =>
      socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`),
    );
    socket.on('data', (bytes) => {
      resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(bytes.toString('latin1'))?.[1]));
      socket.destroy();
    });
    socket.on('error', () => resolve(undefined));
  });
}

/** Says whether the network takes packets for an address. Without a route it refuses them at once. */
function opens(host) {
  return new Promise((resolve) => {
    const socket = connect({ host, port: 443, timeout: 1000 });
    socket.on('error', ({ code }) => resolve(code !== 'ENETUNREACH'));
    socket.on('connect', () => resolve(true));
    socket.on('timeout', () => resolve(true));
  });
}
