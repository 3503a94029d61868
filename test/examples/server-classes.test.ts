// Tests the example server with a model of classes: requests name the class, and the answers are those of the model given it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelHost } from '../../examples/server/src/model-host.js';
import { buildServer } from '../../examples/server/src/server.js';
import { classModelFile, modelFile } from './model-file.js';

const names = ['cat', 'dog', 'shoe'];
const host = new ModelHost();
const app = buildServer(host, { maxCount: 4, maxSide: 32 });
const plainHost = new ModelHost();
const plain = buildServer(plainHost, { maxCount: 4, maxSide: 32 });

describe('the model', () => {
  it('is the pretrained digits, if none is given', async () => {
    await using own = new ModelHost();
    await own.start();
    expect(own.health()).toMatchObject({ model: { condition: { classes: 10 }, classNames: { 7: '7' } } });
    await using named = new ModelHost();
    await named.start('fashion');
    expect(named.model.classNames).toContain('Sneaker');
  });

  it('must be there', async () => {
    await using missing = new ModelHost();
    await expect(missing.start('nowhere.safetensors')).rejects.toMatchObject({ code: 'ENOENT' });
    expect(() => missing.model).toThrow('not ready');
  });
});

beforeAll(async () => {
  await host.start(await classModelFile(names));
  await plainHost.start(await modelFile());
});
afterAll(async () => {
  for (const server of [app, plain]) await server.close();
  for (const one of [host, plainHost]) await one[Symbol.asyncDispose]();
});

const post = (url: string, payload: object, headers: Record<string, string> = {}, server = app) =>
  server.inject({ method: 'POST', url, payload, headers });
const imagesOf = async (payload: object): Promise<string[]> => (await post('/sample', payload)).json().images;
/** Encodes each image of a batch, as answers do. */
const base64 = ({ data, count }: { data: Uint8Array; count: number }) =>
  Array.from({ length: count }, (_, i) => Buffer.from(data.slice(i * 784, (i + 1) * 784)).toString('base64'));

describe('answers', () => {
  it('tells the classes of the model, if it has some', async () => {
    const { model } = (await app.inject({ url: '/healthz' })).json();
    expect(model).toMatchObject({ condition: { classes: 3, none: true }, classNames: names });
    const { model: without } = (await plain.inject({ url: '/healthz' })).json();
    expect(without).not.toHaveProperty('condition');
    expect(without).not.toHaveProperty('classNames');
  });

  it('draws a class, by number or name, none, and a list of them', async () => {
    const shoes = await imagesOf({ labels: 2, seed: 7, count: 2 });
    expect(shoes).toEqual(base64(await host.model.sample({ labels: 2, seed: 7, count: 2 })));
    expect(await imagesOf({ labels: 'shoe', seed: 7, count: 2 })).toEqual(shoes);
    const none = await imagesOf({ labels: 'none', seed: 7 });
    const each = await imagesOf({ labels: ['cat', 1, 'shoe'], seed: 7 });
    expect(each).toEqual(base64(await host.model.sample({ labels: [0, 1, 2], seed: 7 })));
    const first = await Promise.all(
      names.map(async (name) => (await imagesOf({ labels: name, seed: 7 }))[0]),
    );
    expect(each[0]).toBe(first[0]);
    expect(new Set([...first, none[0]]).size).toBe(4);
  });

  it('is guided, and streams the same', async () => {
    const request = { labels: 'dog', guidance: 3, seed: 4 };
    const guided = await imagesOf(request);
    expect(guided).toEqual(base64(await host.model.sample({ labels: 1, guidance: 3, seed: 4 })));
    expect(guided).not.toEqual(await imagesOf({ labels: 'dog', seed: 4 }));
    expect(await imagesOf({ guidance: 0, seed: 4 })).toEqual(await imagesOf({ labels: 'none', seed: 4 }));
    const stream = await post('/sample', request, { accept: 'text/event-stream' });
    const last = [...stream.body.matchAll(/event: (\w+)\ndata: (.*)\n\n/g)].at(-1)!;
    expect([last[1], JSON.parse(last[2]!).images]).toEqual(['done', guided]);
  });

  it('completes an image as each class, and tells its likelihood given each', async () => {
    const image = Buffer.from(Array.from({ length: 784 }, (_, i) => (i % 28 < 19 ? 255 : 0)));
    const known = Buffer.alloc(784).fill(1, 0, 10).toString('base64');
    const [images, masks] = [Array(3).fill(image.toString('base64')), Array(3).fill(known)];
    const batch = {
      data: Buffer.concat([image, image, image]),
      count: 3,
      height: 28,
      width: 28,
      channels: 1,
    };
    const mask = Uint8Array.from({ length: 3 * 784 }, (_, i) => (i % 784 < 10 ? 1 : 0));

    const asked = { images, known: masks, labels: names, guidance: 2, seed: 1 };
    const answer = (await post('/complete', asked)).json();
    const options = { labels: [0, 1, 2], guidance: 2, seed: 1 };
    const completed = await host.model.complete({ images: batch, known: mask, ...options });
    expect(answer.images).toEqual(base64(completed));
    expect(new Set(answer.images).size).toBe(3);

    const { nats } = (await post('/log-likelihood', { images, labels: names })).json();
    expect(nats).toEqual([...(await host.model.logLikelihood(batch, { labels: [0, 1, 2] })).nats]);
    // The image is one of those that the model learnt as a shoe.
    expect(nats.indexOf(Math.min(...nats))).toBe(2);
  });
});

describe('refusals', () => {
  const image = Buffer.alloc(784).toString('base64');
  it.each<[string, string, object, string, RegExp]>([
    ['a number that no class has', '/sample', { labels: 3 }, 'ERR_OUT_OF_RANGE', /0 to 2.*'shoe'.*got 3/],
    ['a number below 0', '/sample', { labels: [0, -1] }, 'ERR_OUT_OF_RANGE', /0 to 2.*got -1/],
    ['a name that no class has', '/sample', { labels: 'shoo' }, 'ERR_CLASS_NAME', /no class 'shoo'.*'shoe'/],
    ['no class', '/sample', {}, 'ERR_CONDITION', /3 classes.*no `labels`/],
    ['neither', '/sample', { labels: 1.5 }, 'ERR_INVALID_REQUEST', /^labels: .*number or name/],
    ['an empty list', '/sample', { labels: [] }, 'ERR_INVALID_REQUEST', /^labels: .*>=1/],
    ['a list too long', '/sample', { labels: [0, 0, 0, 0, 0] }, 'ERR_INVALID_REQUEST', /^labels: .*1 to 4/],
    ['another count', '/sample', { labels: [0, 1], count: 3 }, 'ERR_BUFFER_SIZE', /3 images, got 2/],
    ['too much guidance', '/sample', { labels: 0, guidance: 11 }, 'ERR_INVALID_REQUEST', /^guidance: .*10/],
    ['a completion of no class', '/complete', { images: [image], known: [image] }, 'ERR_CONDITION', /labels/],
    ['a likelihood of no class', '/log-likelihood', { images: [image] }, 'ERR_CONDITION', /labels/],
  ])('%s', async (_name, url, payload, code, message) => {
    for (const accept of url === '/sample' ? ['*/*', 'text/event-stream'] : ['*/*']) {
      const answer = await post(url, payload, { accept });
      expect(answer.statusCode).toBe(400);
      expect(answer.json().error).toEqual({ code, message: expect.stringMatching(message) });
      expect(answer.json().error.message.length).toBeLessThan(300);
    }
  });

  it.each([
    ['a class', { labels: 0 }, /no condition.*`labels`/],
    ['guidance', { guidance: 2 }, /`guidance` 2.*given nothing/],
  ])('%s for a model without classes', async (_name, payload, message) => {
    const answer = await post('/sample', payload, {}, plain);
    expect([answer.statusCode, answer.json().error.code]).toEqual([400, 'ERR_CONDITION']);
    expect(answer.json().error.message).toMatch(message);
  });

  it.each([['features'], ['map']])('a model with %s, at the start', async (kind) => {
    await using unserved = new ModelHost();
    const file = await modelFile({ condition: { [kind]: 2 } });
    await expect(unserved.start(file)).rejects.toThrow(
      `this server gives a model no condition but a class, and ${file} was trained with \`${kind}\``,
    );
    expect(() => unserved.model).toThrow('not ready');
  });
});
