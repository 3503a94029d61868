// Tests the page of the example server in headless Chromium.
/// <reference lib="dom" />

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { hasChromium, launchChromium } from '../../examples/server/src/check/chromium.js';
import { ModelHost } from '../../examples/server/src/model-host.js';
import { buildServer } from '../../examples/server/src/server.js';
import { classModelFile, modelFile } from './model-file.js';

const host = new ModelHost();
const app = buildServer(host);
const classHost = new ModelHost();
const classApp = buildServer(classHost);
let browser: Browser;
let page: Page;
let address = '';
let classAddress = '';
/** The errors that the page reported. */
const errors: string[] = [];
/** The origins of all its requests. */
const hosts = new Set<string>();

beforeAll(async () => {
  expect(hasChromium(), 'Chromium is missing: npm run test:slow installs it on Debian').toBe(true);
  [address, classAddress] = (await Promise.all(
    [app, classApp].map((server) => server.listen({ port: 0, host: '127.0.0.1' })),
  )) as [string, string];
  browser = await launchChromium();
  page = await browser.newPage({ viewport: { width: 1180, height: 860 } });
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('request', (request) => hosts.add(new URL(request.url()).origin));
}, 60_000);

afterAll(async () => {
  await browser?.close();
  for (const server of [app, classApp]) await server.close();
  for (const one of [host, classHost]) await one[Symbol.asyncDispose]();
});

const status = (text: string) => page.locator('#status[data-state=done]', { hasText: text });
/** Returns the colours at the middle of each pixel of the canvas as a text. */
const colours = () =>
  page.evaluate(() => {
    const canvas = document.querySelector<HTMLCanvasElement>('#canvas')!;
    const context = canvas.getContext('2d')!;
    const cell = canvas.width / 28;
    const middle = cell * 0.3;
    const read = (i: number, j: number) =>
      [...context.getImageData(j * cell + middle, i * cell + middle, 1, 1).data.slice(0, 3)].join();
    return Array.from({ length: 28 }, (_, i) => Array.from({ length: 28 }, (_, j) => read(i, j)));
  });

it('waits for the model and tells that it does', async () => {
  await page.goto(address);
  await page.locator('#waiting').waitFor({ state: 'visible' });
  expect(await page.locator('#draw').isDisabled()).toBe(true);
  await host.start(await modelFile());
  await page.locator('#waiting').waitFor({ state: 'hidden' });
});

it('offers neither classes nor guidance for a model without', async () => {
  expect(await page.locator('#draw').textContent()).toBe('Draw');
  for (const hidden of ['#label', '#guidance']) expect(await page.locator(hidden).isVisible()).toBe(false);
});

it('draws a digit step by step as it is streamed', async () => {
  await status('drawn from seed').waitFor();
  await page.fill('#speed', '60');
  await page.fill('#seed', '5');
  await page.click('#draw');
  const steps = new Set<number>();
  while ((await status('drawn from seed 5').count()) === 0) {
    steps.add(
      await page.evaluate(() => Number(document.querySelector<HTMLElement>('#canvas')!.dataset.step)),
    );
  }
  // At 60 steps per second, at least 109 are shown in two seconds. A busy machine shows fewer.
  expect(steps.size).toBeGreaterThan(5);
  const { data } = await host.model.sample({ seed: 5, temperature: 0.85 });
  const shown = (await colours()).flat();
  const [ink, paper] = [shown[data.indexOf(255)], shown[data.indexOf(0)]];
  expect(ink).not.toBe(paper);
  expect(shown).toEqual(Array.from(data, (byte) => (byte === 255 ? ink : paper)));
});

it('completes what a person erased and keeps the rest', async () => {
  const before = await colours();
  const box = (await page.locator('#canvas').boundingBox())!;
  const at = (row: number, column: number): [number, number] => [
    box.x + ((column + 0.5) * box.width) / 28,
    box.y + ((row + 0.5) * box.height) / 28,
  ];
  await page.mouse.move(...at(20, 3));
  await page.mouse.down();
  await page.mouse.move(...at(20, 24), { steps: 30 });
  await page.mouse.up();
  const erased = await colours();
  const unknown = erased.flat().filter((colour, i) => colour !== before.flat()[i]).length;
  expect(unknown).toBeGreaterThan(50);
  expect(erased.slice(0, 18)).toEqual(before.slice(0, 18));

  const answered = page.waitForResponse(`${address}/complete`);
  await page.fill('#speed', '240');
  await page.click('#complete');
  const response = await answered;
  const known = Buffer.from(response.request().postDataJSON().known[0], 'base64');
  expect(known.filter((one) => one === 0).length).toBe(unknown);
  await status('completed from seed 5').waitFor();
  expect(await page.locator('#completions canvas').count()).toBe(8);
  const after = await colours();
  expect(after.slice(0, 18)).toEqual(before.slice(0, 18));
  // Every erased pixel now has a value, in the colours of completed pixels.
  after.flat().forEach((colour, i) => {
    expect(colour === before.flat()[i]).toBe(known[i] === 1);
  });
});

it('tells what the server refuses', async () => {
  await page.fill('#seed', '99999999999999999999');
  await page.click('#draw');
  await page.locator('#status[data-state=error]', { hasText: 'seed' }).waitFor();
});

it('tells of a failure amid a stream, and goes on telling', async () => {
  const event = (name: string, data: object) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
  const frame = { step: 1, steps: 55, images: [Buffer.alloc(28 * 28).toString('base64')] };
  const body =
    event('frame', frame) + event('error', { code: 'ERR_DEADLINE', message: 'the deadline has passed' });
  await page.route('**/sample', (route) => route.fulfill({ contentType: 'text/event-stream', body }));
  await page.fill('#seed', '6');
  await page.click('#draw');
  const failure = page.locator('#status[data-state=error]', { hasText: 'the deadline has passed' });
  await failure.waitFor();
  await page.waitForTimeout(300); // long enough for the frame to be shown
  expect(await failure.count()).toBe(1);
});

describe('with a model of classes', () => {
  const names = ['cat', 'dog', 'shoe'];
  const captions = (list: string) => page.locator(`${list} li > p`).allTextContents();
  const asked = async (path: string, button: string) => {
    const request = page.waitForRequest(`${classAddress}/${path}`);
    await page.click(button);
    return (await request).postDataJSON();
  };

  it('draws one of each at first, each in a tile', async () => {
    await classHost.start(await classModelFile(names));
    await page.unroute('**/sample');
    await page.goto(classAddress);
    await status('drawn from seed').waitFor();
    expect(await page.locator('#label option').allTextContents()).toEqual(['one of each', ...names, 'any']);
    expect(await captions('#drawn')).toEqual(names);
  });

  it('draws the class that is chosen, guided', async () => {
    await page.selectOption('#label', 'shoe');
    expect(await page.locator('#draw').textContent()).toBe('Draw a');
    await page.fill('#speed', '240');
    await page.fill('#guidance', '2');
    await page.fill('#seed', '5');
    expect(await asked('sample', '#draw')).toMatchObject({ labels: 2, guidance: 2, seed: 5 });
    await status('drawn from seed 5').waitFor();
    const options = { labels: 2, guidance: 2, temperature: 0.85, seed: 5 };
    const { data } = await classHost.model.sample(options);
    const shown = (await colours()).flat();
    const [ink, paper] = [shown[data.indexOf(255)], shown[data.indexOf(0)]];
    expect(shown).toEqual(Array.from(data, (byte) => (byte === 255 ? ink : paper)));
    expect((await captions('#drawn')).slice(0, 2)).toEqual(['shoe', 'cat']);
  });

  it('completes as the class that is chosen, as each, and as any', async () => {
    for (const [option, labels, text] of [
      ['dog', 1, 'Complete it as dog'],
      ['one of each', [0, 1, 2], 'Complete it as each'],
      ['any', 'none', 'Complete it'],
    ] as const) {
      await page.selectOption('#label', option);
      expect(await page.locator('#complete').textContent()).toBe(text);
      await page.click('#erase-lower');
      const likelihood = page.waitForRequest(`${classAddress}/log-likelihood`);
      expect(await asked('complete', '#complete')).toMatchObject({ labels });
      expect((await likelihood).postDataJSON()).toMatchObject({ labels });
      await status('completed from seed 5').waitFor();
      const found = (await captions('#completions')).map((caption) => caption.split(':')[0]);
      expect(found.length).toBe(Array.isArray(labels) ? 3 : 8);
      if (Array.isArray(labels)) expect(found.toSorted()).toEqual(names);
    }
  });
});

it('ran without an error and asked nothing of another host', () => {
  expect(errors).toEqual([]);
  expect([...hosts]).toEqual([address, classAddress]);
});
