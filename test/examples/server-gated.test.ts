// Tests the example server with a gated model: it draws, streams, completes and computes likelihoods as with a plain one.
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ModelHost } from '../../examples/server/src/model-host.js';
import { buildServer } from '../../examples/server/src/server.js';
import { modelFile } from './model-file.js';

const host = new ModelHost();
const app = buildServer(host, { maxCount: 4, maxSide: 32 });

beforeAll(async () => {
  await host.start(await modelFile({ architecture: 'gated' }));
});
afterAll(async () => {
  await app.close();
  await host[Symbol.asyncDispose]();
});

const post = (url: string, payload: object, headers: Record<string, string> = {}) =>
  app.inject({ method: 'POST', url, payload, headers });

it('names the architecture and answers every route', async () => {
  const health = (await app.inject({ url: '/healthz' })).json();
  expect(health).toMatchObject({ status: 'ready', model: { architecture: 'gated', firstKernelSize: 7 } });

  const drawn = await post('/sample', { count: 2, seed: 7 });
  expect(drawn.statusCode).toBe(200);
  const { images } = drawn.json();
  const stream = await post('/sample', { count: 2, seed: 7 }, { accept: 'text/event-stream' });
  const last = [...stream.body.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].at(-1)!;
  expect(last[1]).toBe('done');
  expect(JSON.parse(last[2]!).images).toEqual(images);

  const known = Buffer.alloc(784, 1).toString('base64');
  const completed = await post('/complete', { images: [images[0]], known: [known], seed: 1 });
  expect(completed.json().images).toEqual([images[0]]);
  const { nats } = (await post('/log-likelihood', { images })).json();
  expect(nats.every((value: number) => value > 0)).toBe(true);
});
