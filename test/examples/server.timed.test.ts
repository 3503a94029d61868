// Tests that the example server ends its work for a client that leaves.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelHost } from '../../examples/server/src/model-host.js';
import { buildServer } from '../../examples/server/src/server.js';
import { expectWithin } from '../helpers/time-limit.js';
import { modelFile } from './model-file.js';

const host = new ModelHost();
beforeAll(async () => {
  await host.start(await modelFile());
});
afterAll(() => host[Symbol.asyncDispose]());

describe('a client that leaves', () => {
  it.each(['*/*', 'text/event-stream'])('ends its work and frees its place (accept: %s)', async (accept) => {
    await using server = buildServer(host, { running: 1, waiting: 0, maxSide: 256 });
    const address = await server.listen({ port: 0 });
    const request = (body: object, signal: AbortSignal) =>
      fetch(`${address}/sample`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept },
        body: JSON.stringify(body),
        signal,
      });
    const running = async () => (await server.inject({ url: '/healthz' })).json().queue.running;
    await expectWithin(700, 'freeing the place', async (stopwatch) => {
      const controller = new AbortController();
      // This request takes some seconds.
      const leaving = request({ count: 64, height: 256, width: 256 }, controller.signal).then((answer) =>
        answer.text(),
      );
      while ((await running()) === 0) await sleep(5);
      // 64 images of 256x256 would take much longer than this.
      await stopwatch(async () => {
        controller.abort();
        await expect(leaving).rejects.toThrow();
        while ((await running()) > 0) await sleep(5);
      });
    });
    const answer = await request({ height: 8, width: 8 }, new AbortController().signal);
    expect(answer.status).toBe(200);
    await answer.text();
  });
});
