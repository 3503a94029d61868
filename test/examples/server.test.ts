// Tests the answers of each route of the example server, and what it refuses.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BoundedQueue } from '../../examples/server/src/bounded-queue.js';
import { ModelHost } from '../../examples/server/src/model-host.js';
import { buildServer } from '../../examples/server/src/server.js';
import { modelFile } from './model-file.js';

const host = new ModelHost();
const app = buildServer(host, { maxCount: 4, maxSide: 32 });
const pixels = 28 * 28;

beforeAll(async () => {
  await host.start(await modelFile());
});
afterAll(async () => {
  await app.close();
  await host[Symbol.asyncDispose]();
});

const post = (url: string, payload: object | string, headers: Record<string, string> = {}) =>
  app.inject({
    method: 'POST',
    url,
    payload,
    headers: { 'content-type': 'application/json', ...headers },
  });

describe('answers', () => {
  it('tells its health', async () => {
    const answer = await app.inject({ url: '/healthz' });
    expect(answer.statusCode).toBe(200);
    expect(answer.json()).toMatchObject({
      status: 'ready',
      model: { levels: 2, imageSize: { height: 28, width: 28 } },
      queue: { running: 0, waiting: 0 },
    });
  });

  it('draws from a seed, the same each time', async () => {
    const request = { count: 2, seed: 7, height: 9, width: 5 };
    const [one, two] = [await post('/sample', request), await post('/sample', request)];
    expect(one.statusCode).toBe(200);
    expect(one.body).toBe(two.body);
    const { seed, images } = one.json();
    expect(seed).toBe(7);
    expect(images.map((text: string) => Buffer.from(text, 'base64').length)).toEqual([45, 45]);
    expect((await post('/sample', { ...request, seed: 8 })).json().images).not.toEqual(images);
  });

  it('chooses a seed and tells it', async () => {
    const { seed, images } = (await post('/sample', {})).json();
    expect(Number.isSafeInteger(seed)).toBe(true);
    expect((await post('/sample', { seed })).json().images).toEqual(images);
  });

  it('streams the canvas as it fills, and ends with the plain answer', async () => {
    const request = { seed: 3, stepsPerFrame: 1 };
    const answer = await post('/sample', request, { accept: 'text/event-stream' });
    expect(answer.headers['content-type']).toMatch(/^text\/event-stream/);
    const events = [...answer.body.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].map(([, name, data]) => ({
      name,
      data: JSON.parse(data!),
    }));
    const frames = events.filter(({ name }) => name === 'frame').map(({ data }) => data);
    const done = events.at(-1)!;
    expect(done.name).toBe('done');
    expect(done.data).toEqual((await post('/sample', { seed: 3 })).json());
    expect(frames.map(({ step }) => step)).toEqual(Array.from({ length: frames.length }, (_, i) => i + 1));
    expect(frames.at(-1).images).toEqual(done.data.images);
    const inked = (frame: { images: string[] }) =>
      Buffer.from(frame.images[0]!, 'base64').filter((byte) => byte > 0).length;
    expect(inked(frames[10])).toBeLessThan(inked(frames.at(-1)));
  });

  it('completes what is not known and leaves what is', async () => {
    const image = Buffer.from(Array.from({ length: pixels }, (_, i) => (i % 3 === 0 ? 255 : 0)));
    const known = Buffer.alloc(pixels).fill(1, 0, 400);
    const request = { images: [image.toString('base64')], known: [known.toString('base64')], seed: 1 };
    const answer = await post('/complete', request);
    expect(answer.statusCode).toBe(200);
    const completed = Buffer.from(answer.json().images[0], 'base64');
    expect(completed.subarray(0, 400)).toEqual(image.subarray(0, 400));
    expect(completed.subarray(400)).not.toEqual(image.subarray(400));
  });

  it('tells likelihoods as the model does', async () => {
    const image = Buffer.alloc(pixels, 255);
    const answer = (await post('/log-likelihood', { images: [image.toString('base64')] })).json();
    const { nats, bitsPerDim, weights } = await host.model.logLikelihood({
      data: image,
      count: 1,
      height: 28,
      width: 28,
      channels: 1,
    });
    expect(answer).toEqual({ nats: [...nats], bitsPerDim: [...bitsPerDim], weights });
  });

  it('serves the page and lets it load nothing from elsewhere', async () => {
    for (const url of ['/', '/style.css', '/page.js', '/picture.js', '/classes.js', '/requests.js']) {
      const answer = await app.inject({ url });
      expect(answer.statusCode, url).toBe(200);
      expect(answer.headers['content-security-policy']).toMatch(/^default-src 'self'/);
      expect(answer.body).not.toMatch(/https?:\/\//);
    }
  });
});

describe('refusals', () => {
  const image = Buffer.alloc(pixels).toString('base64');
  it.each<[string, string, object | string, number, string]>([
    ['no JSON', '/sample', '{"count":', 400, 'FST_ERR_CTP_INVALID_JSON_BODY'],
    ['no object', '/sample', '[]', 400, 'ERR_INVALID_REQUEST'],
    ['an unknown field', '/sample', { sed: 1 }, 400, 'ERR_INVALID_REQUEST'],
    ['too many images', '/sample', { count: 5 }, 400, 'ERR_INVALID_REQUEST'],
    ['images too large', '/sample', { height: 33, width: 8 }, 400, 'ERR_INVALID_REQUEST'],
    ['a seed below 0', '/sample', { seed: -1 }, 400, 'ERR_INVALID_REQUEST'],
    ['a seed that JSON cannot hold', '/sample', '{"seed":18446744073709551615}', 400, 'ERR_INVALID_REQUEST'],
    ['no base64', '/complete', { images: ['?'], known: [image] }, 400, 'ERR_INVALID_REQUEST'],
    ['an image of another size', '/log-likelihood', { images: ['AAAA'] }, 400, 'ERR_INVALID_REQUEST'],
    ['a mask too few', '/complete', { images: [image, image], known: [image] }, 400, 'ERR_INVALID_REQUEST'],
    ['a body too large', '/sample', 'x'.repeat(2 ** 20 + 1), 413, 'FST_ERR_CTP_BODY_TOO_LARGE'],
    ['an unknown route', '/nowhere', {}, 404, 'ERR_NOT_FOUND'],
  ])('%s', async (_name, url, payload, status, code) => {
    const answer = await post(url, payload);
    expect(answer.statusCode).toBe(status);
    expect(answer.json().error.code).toBe(code);
    expect(answer.json().error.message.length).toBeLessThan(300);
  });

  it('answers 503 with Retry-After while there is no model', async () => {
    await using early = buildServer(new ModelHost());
    const answer = await early.inject({ method: 'POST', url: '/sample', payload: {} });
    expect(answer.statusCode).toBe(503);
    expect(answer.headers['retry-after']).toBe('5');
    const health = await early.inject({ url: '/healthz' });
    expect([health.statusCode, health.json().status]).toEqual([503, 'starting']);
  });

  it('answers 429 with Retry-After when the queue is full', async () => {
    await using narrow = buildServer(host, { running: 1, waiting: 1 });
    const one = () =>
      narrow.inject({ method: 'POST', url: '/sample', payload: { count: 64, height: 64, width: 64 } });
    const answers = await Promise.all([one(), one(), one(), one()]);
    expect(answers.map(({ statusCode }) => statusCode).toSorted()).toEqual([200, 200, 429, 429]);
    const refused = answers.find(({ statusCode }) => statusCode === 429)!;
    expect(Number(refused.headers['retry-after'])).toBeGreaterThanOrEqual(1);
    expect(refused.json().error.code).toBe('ERR_QUEUE_FULL');
  });

  it('gives a request up at its deadline', async () => {
    await using hasty = buildServer(host, { deadline: 1 });
    const payload = { count: 64, height: 64, width: 64 };
    const answer = await hasty.inject({ method: 'POST', url: '/sample', payload });
    expect([answer.statusCode, answer.json().error.code]).toEqual([503, 'ERR_DEADLINE']);
  });

  it('ends a stream at its deadline with an event that says so', async () => {
    await using hasty = buildServer(host, { deadline: 200, maxSide: 256 });
    const answer = await hasty.inject({
      method: 'POST',
      url: '/sample',
      payload: { count: 64, height: 256, width: 256 },
      headers: { accept: 'text/event-stream' },
    });
    expect(answer.statusCode).toBe(200);
    expect(answer.body).toMatch(/event: error\ndata: {"code":"ERR_DEADLINE",.*}\n\n$/);
  });

  it('tells nothing of a failure of its own', async () => {
    await using broken = buildServer({
      get model(): never {
        throw new Error('/home/someone/secret');
      },
    } as unknown as ModelHost);
    const answer = await broken.inject({ method: 'POST', url: '/sample', payload: {} });
    expect(answer.statusCode).toBe(500);
    expect(answer.body).not.toContain('secret');
  });
});

describe('BoundedQueue', () => {
  const forever = new AbortController().signal;

  it('lets in as many as may run, then in the order they came', async () => {
    const queue = new BoundedQueue({ running: 2, waiting: 2 });
    const order: number[] = [];
    const places = [await queue.enter(forever), await queue.enter(forever)];
    const waiting = [0, 1].map(async (i) => {
      const place = await queue.enter(forever);
      order.push(i);
      return place;
    });
    await expect(queue.enter(forever)).rejects.toMatchObject({ statusCode: 429 });
    expect([queue.running, queue.waiting]).toEqual([2, 2]);
    places[0]![Symbol.dispose]();
    // Disposing a place twice must free it only once.
    places[0]![Symbol.dispose]();
    await waiting[0];
    expect(order).toEqual([0]);
    expect([queue.running, queue.waiting]).toEqual([2, 1]);
    places[1]![Symbol.dispose]();
    for (const place of await Promise.all(waiting)) place[Symbol.dispose]();
    expect([queue.running, queue.waiting]).toEqual([0, 0]);
  });

  it('forgets who leaves while waiting', async () => {
    const queue = new BoundedQueue({ running: 1, waiting: 2 });
    const place = await queue.enter(forever);
    const controller = new AbortController();
    const leaving = queue.enter(controller.signal);
    const staying = queue.enter(forever);
    controller.abort(new Error('gone'));
    await expect(leaving).rejects.toThrow('gone');
    expect(queue.waiting).toBe(1);
    place[Symbol.dispose]();
    (await staying)[Symbol.dispose]();
    expect(queue.running).toBe(0);
    await expect(queue.enter(AbortSignal.abort())).rejects.toThrow();
  });
});
