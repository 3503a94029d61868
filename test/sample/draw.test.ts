// Tests that the device's next chunk is submitted before JavaScript handles what the last one has drawn, and that
// with two of them at work errors, aborts and frames are as with one. Promises of the tests replace the sampler's
// native side.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { openDevice } from '../../src/device/device.js';
import { PixelCnnError } from '../../src/errors.js';
import type { PixelCNN } from '../../src/pixelcnn.js';
import { type Chunk, inFlightMilliseconds } from '../../src/sample/chunks.js';
import { type Drawn, FrontSampler, imagesPerBatch } from '../../src/sample/front-sampler.js';
import { drawImages } from '../../src/sample/sampler.js';
import { randomModel, testDevice } from '../helpers/models.js';

const device = testDevice({ backend: 'cpu' });
const config = { channels: 1, hiddenChannels: 4, layers: 2, levels: 256, kernelSize: 3 };
/** Three batches of the CPU, the last of them smaller: 16 images, 16 and 8. */
const size = { count: 40, height: 28, width: 28, seed: 1 };
const steps = 28 + 2 * 27;

interface Submitted {
  readonly n: number;
  /** The first image, where it begins a batch. */
  readonly begins: number | undefined;
  readonly chunk: Chunk;
  resolve(): void;
  reject(error: Error): void;
}

let model: PixelCNN;
let submitted: Submitted[] = [];
let events: string[] = [];
let now = 0;
/** Milliseconds that a call that submits takes. */
let callTakes = 0;

beforeEach(async () => {
  model = await randomModel(device(), config, 1);
  [submitted, events] = [[], []];
  // Chunks are timed by this clock, so that a busy machine makes none of them long.
  [now, callTakes] = [0, 0];
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 0.5;
    return now;
  });
  let last = { n: 0, first: 0 };
  vi.spyOn(FrontSampler.prototype, 'draw').mockImplementation((chunk, batch) => {
    now += callTakes;
    if (batch !== undefined) last = { n: batch.index.length, first: batch.index[0]! };
    const { n, first } = last;
    if (batch !== undefined) events.push(`begin ${first}`);
    return new Promise<Drawn>((resolve, reject) => {
      const level = new Uint8Array(n * 784).fill(first + 1);
      submitted.push({
        n,
        begins: batch && first,
        chunk: chunk as Chunk,
        resolve: () => resolve({ level, logits: new Float32Array(0) }),
        reject,
      });
    });
  });
  const { dispose } = FrontSampler.prototype;
  vi.spyOn(FrontSampler.prototype, 'dispose').mockImplementation(function (this: FrontSampler) {
    events.push('dispose');
    dispose.call(this);
  });
});

afterEach(async () => {
  vi.restoreAllMocks();
  await model.dispose();
});

/** Lets what waits for promises go on; building a sampler takes the device's thread. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i += 1) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** Resolves chunks in order until two are submitted. */
async function untilTwo(): Promise<void> {
  await vi.waitFor(() => expect(submitted.length).toBeGreaterThan(0));
  for (let i = 0; i < 50; i += 1) {
    await settle();
    if (submitted.length === 2) return;
    submitted.shift()?.resolve();
  }
  throw new Error('never were two chunks submitted');
}

/** Resolves all chunks in order; the most that were submitted at once. */
async function untilEnd(work: Promise<unknown>): Promise<number> {
  let [most, done] = [0, false];
  const end = work.finally(() => {
    done = true;
  });
  while (!done) {
    await settle();
    most = Math.max(most, submitted.length);
    submitted.shift()?.resolve();
  }
  await end;
  return most;
}

describe('batches', () => {
  it('are submitted two at a time, the next before the last is told and written', async () => {
    const progress: number[] = [];
    const work = drawImages(model.internals(), size, (done, of) => {
      progress.push(done / of);
      events.push(`told ${Math.floor((3 * done) / of)}`);
    });
    expect(await untilEnd(work)).toBe(2);
    const { data } = await work;
    expect([...data]).toEqual(
      Array.from({ length: 40 * 784 }, (_, i) => [1, 17, 33][Math.floor(i / 784 / 16)]!),
    );
    const at = (event: string) => events.indexOf(event);
    expect(at('begin 16')).toBeGreaterThan(-1);
    expect(at('begin 16')).toBeLessThan(at('told 1'));
    expect(at('begin 32')).toBeLessThan(at('told 2'));
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBe(1);
    // Both samplers, of 16 and of 8 images, are kept.
    expect(events).not.toContain('dispose');
  });

  it.each([0, 1])('an error of chunk %d of two comes out once both have ended', async (failing) => {
    const work = drawImages(model.internals(), size);
    const ended = vi.fn();
    work.then(ended, ended);
    await untilTwo();
    const [failed, other] = [submitted[failing]!, submitted[1 - failing]!];
    const error = new Error('planted');
    failed.reject(error);
    await settle();
    expect(events).not.toContain('dispose');
    expect(ended).not.toHaveBeenCalled();
    other.resolve();
    // The second one may be awaited by now, or a third be submitted before.
    const end = expect(work).rejects.toBe(error);
    await untilEnd(work.catch(() => {}));
    await end;
    expect(events).toContain('dispose');
  });

  it('both fail: the first one is told, and nothing is left unhandled', async () => {
    const work = drawImages(model.internals(), size);
    await untilTwo();
    const [first, second] = [new Error('first'), new Error('second')];
    submitted[1]!.reject(second);
    await settle();
    submitted[0]!.reject(first);
    await expect(work).rejects.toBe(first);
  });

  it('a GPU that is lost: what it was lost to is told, not what that did to the other chunk', async () => {
    const work = drawImages(model.internals(), size);
    await untilTwo();
    submitted[0]!.reject(new PixelCnnError('ERR_DEVICE_LOST', 'the GPU failed earlier'));
    await settle();
    const failure = new PixelCnnError('ERR_CUDA', 'unspecified launch failure');
    submitted[1]!.reject(failure);
    await expect(work).rejects.toBe(failure);
  });

  it('an abort submits nothing more and ends with both chunks', async () => {
    const controller = new AbortController();
    const work = drawImages(model.internals(), { ...size, signal: controller.signal });
    const ended = vi.fn();
    work.then(ended, ended);
    await untilTwo();
    const before = [...submitted];
    const reason = new Error('enough');
    controller.abort(reason);
    before[0]!.resolve();
    await settle();
    expect(submitted).toEqual(before);
    expect(ended).not.toHaveBeenCalled();
    expect(events).not.toContain('dispose');
    before[1]!.resolve();
    await expect(work).rejects.toBe(reason);
    expect(events).toContain('dispose');
  });

  it.each([60, 200, 1000])(
    'JavaScript that was busy for %d ms and sees two chunks at once takes neither for fast',
    async (busy) => {
      const work = drawImages(model.internals(), { ...size, count: 160 });
      await untilTwo();
      const both = submitted.splice(0);
      now += busy;
      for (const { resolve } of both) resolve();
      await settle();
      // Of the two, the first one had the time; what comes after them is slow in truth.
      let before = { fronts: both[0]!.chunk.fronts, milliseconds: busy };
      for (let i = 0; i < 5; i += 1) {
        const { chunk, resolve } = submitted.shift()!;
        const most = (before.fronts * inFlightMilliseconds) / before.milliseconds;
        expect(chunk.fronts).toBeLessThanOrEqual(Math.max(1, most));
        before = { fronts: chunk.fronts, milliseconds: 2 * chunk.fronts };
        now += before.milliseconds;
        resolve();
        await settle();
      }
      await untilEnd(work);
    },
  );

  it('the time of a chunk begins before the call that submits it, which may last as long as the chunk', async () => {
    callTakes = 30;
    const work = drawImages(model.internals(), size);
    await vi.waitFor(() => expect(submitted.length).toBeGreaterThan(0));
    for (let i = 0; i < 5; i += 1) {
      const { chunk, resolve } = submitted.shift()!;
      resolve();
      await settle();
      expect(submitted.at(-1)!.chunk.fronts).toBeLessThanOrEqual(chunk.fronts);
    }
    callTakes = 0;
    await untilEnd(work);
  });

  it('weights that change under two chunks end the call before a third', async () => {
    const work = drawImages(model.internals(), size);
    work.catch(() => {});
    await untilTwo();
    const before = [...submitted];
    model.internals().weightsChange(['raw']);
    before[0]!.resolve();
    await settle();
    expect(submitted).toEqual(before);
    before[1]!.resolve();
    await expect(work).rejects.toMatchObject({ code: 'ERR_MODEL_IN_USE' });
  });

  it.each([5, 30, steps, 1000])(
    'a stream with frames of %d steps has one chunk at a time, and none at a frame',
    async (stepsPerFrame) => {
      const frames: number[] = [];
      const stream = model.sampleStream({ ...size, stepsPerFrame });
      const read = async () => {
        for await (const { step, steps: of } of stream) {
          frames.push(step);
          expect(of).toBe(3 * steps);
          await settle();
          expect(submitted).toEqual([]);
        }
      };
      expect(await untilEnd(read())).toBe(1);
      const ends = [1, 2, 3].map((batch) => batch * steps);
      const expected = Array.from({ length: 3 * steps }, (_, i) => i + 1).filter(
        (step) => (step % steps) % stepsPerFrame === 0 || ends.includes(step),
      );
      expect(frames).toEqual(expected);
    },
  );
});

describe('images of a batch', () => {
  it.each([
    // backend pixels, config, h, w, images
    ['cuda', { hiddenChannels: 64, layers: 7, kernelSize: 7 }, 'bf16', 28, 4096],
    // 4 GiB over 31 * 34 pixels of 385 channels. A forward pass has 2,048.
    ['cuda', { hiddenChannels: 64, layers: 7, kernelSize: 7 }, 'f32', 28, 2646],
    ['cuda', { hiddenChannels: 256, layers: 16, kernelSize: 7 }, 'f32', 28, 2048],
    ['cuda', { hiddenChannels: 16, layers: 4, kernelSize: 3 }, 'f32', 28, 4096],
    ['cuda', { hiddenChannels: 16, layers: 4, kernelSize: 3 }, 'f32', 4096, 1],
    ['cpu', { hiddenChannels: 64, layers: 7, kernelSize: 7 }, 'f32', 28, 16],
  ] as const)('%s, %o, %s, %d pixels wide: %d', async (backend, options, precision, side, images) => {
    // A CPU that says it is the device.
    await using on = await openDevice({ backend: 'cpu' });
    const internals = (await randomModel(on, { ...config, ...options }, 1)).internals();
    const pixels = (cuda: number, cpu: number) => (backend === 'cuda' ? cuda : cpu) * 784;
    Object.defineProperties(on, {
      info: { value: { ...on.info, precision } },
      pixelsPerSampledBatch: { value: pixels(4096, 16) },
      pixelsPerForward: { value: pixels(2048, 16) },
    });
    expect(imagesPerBatch(internals, side, side, false)).toBe(images);
  });
});
