// Tests calls during a training run: each sees the weights of one step, and neither calls nor steps wait for ever.
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { evaluate, type ImageBatch, PixelCNN, train } from '../../src/index.js';
import { WeightsLock } from '../../src/models/weights-lock.js';
import { randomImages, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const device = testDevice();
const folder = temporaryFolder('weights-lock');
const config = { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 };
const dataset = randomImages(new TestRandom(1), 64, 12, 12, 1);
const size = { height: 12, width: 12, seed: 3 };

/** What a call of each kind gives that takes several runs of the device. */
const answers = (model: PixelCNN, many: ImageBatch) => ({
  sample: async () => Buffer.from((await model.sample({ ...size, count: 4 })).data).toString('hex'),
  complete: async () => {
    const known = new Uint8Array(4 * 144).fill(1, 0, 20);
    const images = { ...dataset, data: dataset.data.slice(0, 4 * 144), count: 4 };
    return Buffer.from((await model.complete({ images, known, seed: 5 })).data).toString('hex');
  },
  evaluate: async () => (await evaluate(model, many)).nats,
  logLikelihood: async () => (await model.logLikelihood(many)).nats.join(),
});
type Call = keyof ReturnType<typeof answers>;

describe('a call during a training run', () => {
  // More images than one run of the device takes.
  const many = randomImages(new TestRandom(2), 3000, 12, 12, 1);

  it.each<Call>(['sample', 'complete', 'evaluate', 'logLikelihood'])(
    'sees the weights of one step: %s',
    { timeout: 60_000 },
    async (name) => {
      const checkpointFolder = join(folder, name);
      await using model = await PixelCNN.create(device(), config);
      const call = answers(model, many)[name];
      const seen = [await call()];
      let done = false;
      const run = train(model, dataset, {
        batchSize: 8,
        steps: 24,
        learningRate: 0.05,
        checkpointFolder,
        checkpointEvery: 1,
        keepLast: 1000,
      });
      const ended = run.then(() => {
        done = true;
      });
      while (!done) seen.push(await call());
      await ended;
      expect(new Set(seen).size, 'the steps change what is seen').toBeGreaterThan(3);

      const ofSteps = [seen[0]];
      for (let step = 1; step <= 24; step += 1) {
        const file = join(checkpointFolder, `step-${String(step).padStart(8, '0')}.safetensors`);
        await using loaded = await PixelCNN.load(device(), file);
        ofSteps.push(await answers(loaded, many)[name]());
      }
      const positions = seen.map((value) => ofSteps.indexOf(value));
      expect(positions).not.toContain(-1);
      expect(positions).toEqual([...positions].sort((a, b) => a - b));
    },
  );
});

describe('a call that names no weights', () => {
  it('takes what the model holds when its turn has come', async () => {
    await using model = await PixelCNN.create(device(), config);
    await train(model, dataset, { steps: 1, emaDecay: 0.5 });
    const long = new AbortController();
    const first = model.sample({ count: 65_536, height: 12, width: 12, signal: long.signal });
    const over = first.catch((error: unknown) => error);
    const run = train(model, dataset, { steps: 1 });
    await new Promise((resolve) => setTimeout(resolve, 100)); // its step waits now
    const images = { ...dataset, data: dataset.data.slice() };
    const second = model.logLikelihood(images);
    const named = model.logLikelihood(dataset, { weights: 'ema' }).catch((error: unknown) => error);
    // What is done to the images while the call waits is not seen.
    images.data.fill(0);
    long.abort(new Error('over'));
    expect(await over).toMatchObject({ message: 'over' });
    expect(await second).toEqual(await model.logLikelihood(dataset));
    expect((await second).weights).toBe('raw');
    expect(await named).toMatchObject({ code: 'ERR_NO_SUCH_WEIGHTS' });
    await run;
  });
});

describe('a run', () => {
  it('that is stopped while its first steps wait resumes to the same bits', async () => {
    const checkpointFolder = join(folder, 'stopped');
    const options = { batchSize: 8, steps: 8 };
    await using model = await PixelCNN.create(device(), config);
    let run: ReturnType<typeof train> | undefined;
    const many = randomImages(new TestRandom(4), 3000, 12, 12, 1);
    const reading = evaluate(model, many, { onEvent: ({ done, of }) => done === of && run?.stop() });
    run = train(model, dataset, { ...options, checkpointFolder });
    await reading;
    expect(await run).toMatchObject({ steps: 0, stopped: true });
    await using straight = await PixelCNN.create(device(), config);
    await train(straight, dataset, options);
    await train(model, dataset, { ...options, checkpointFolder, resume: true });
    const bytesOf = async (one: PixelCNN) => {
      return [...(await one.parameters()).values()].map(({ data }) =>
        Buffer.from(data.buffer).toString('hex'),
      );
    };
    expect(await bytesOf(model)).toEqual(await bytesOf(straight));
  });

  it('is stopped and aborted at once, also while a call is under way', async () => {
    await using model = await PixelCNN.create(device(), config);
    const long = new AbortController();
    const reading = model
      .sample({ count: 65_536, height: 12, width: 12, signal: long.signal })
      .catch((error: unknown) => error);
    const run = train(model, dataset, { epochs: 1000 });
    await new Promise((resolve) => setTimeout(resolve, 50));
    run.stop();
    expect(await run).toMatchObject({ steps: 0, stopped: true });
    const abort = new AbortController();
    const aborted = train(model, dataset, { epochs: 1000, signal: abort.signal });
    await new Promise((resolve) => setTimeout(resolve, 50));
    abort.abort(new Error('enough'));
    await expect(aborted).rejects.toThrow('enough');
    long.abort(new Error('over'));
    expect(await reading).toMatchObject({ message: 'over' });
  });
});

describe('the lock', () => {
  const turn = () => new Promise((resolve) => setImmediate(resolve));

  it('lets a change wait for the calls under way, and later calls for the change', async () => {
    const lock = new WeightsLock();
    const order: string[] = [];
    let endFirst = () => {};
    const first = lock.read(undefined, async () => {
      order.push('first call');
      await new Promise<void>((resolve) => {
        endFirst = resolve;
      });
      order.push('first call ends');
    });
    const change = lock.change(undefined, async () => order.push('change'));
    const second = lock.read(undefined, async () => order.push('second call'));
    for (let i = 0; i < 5; i += 1) await turn();
    expect(order).toEqual(['first call']);
    endFirst();
    await Promise.all([first, change, second]);
    expect(order).toEqual(['first call', 'first call ends', 'change', 'second call']);
  });

  it('hears signals: a call that waits rejects, a change that waits is given up, and neither holds up the rest', async () => {
    const lock = new WeightsLock();
    const order: string[] = [];
    let endFirst = () => {};
    const first = lock.read(
      undefined,
      () =>
        new Promise<void>((resolve) => {
          endFirst = resolve;
        }),
    );
    const stop = new AbortController();
    const given = lock.change(stop.signal, async () => order.push('change'));
    const leave = new AbortController();
    const second = lock.read(leave.signal, async () => order.push('second call'));
    await turn();
    leave.abort(new Error('no longer wanted'));
    await expect(second).rejects.toThrow('no longer wanted');
    stop.abort();
    expect(await given).toBeUndefined();
    expect(await lock.read(undefined, async () => 'read')).toBe('read');
    endFirst();
    await first;
    expect(await lock.change(undefined, async () => order.push('later'))).toBe(1);
  });

  it('submits nothing after a change that was given up, also where the calls end in the same moment', async () => {
    const lock = new WeightsLock();
    const stop = new AbortController();
    const submitted: number[] = [];
    let end = () => {};
    const reading = lock.read(
      undefined,
      () =>
        new Promise<void>((resolve) => {
          end = resolve;
        }),
    );
    const changes = [1, 2].map((number) => lock.change(stop.signal, async () => submitted.push(number)));
    await turn();
    stop.abort();
    end();
    expect(await Promise.all(changes)).toEqual([undefined, undefined]);
    await reading;
    expect(submitted).toEqual([]);
  });

  it('keeps changes in order, does not wait for what they do, and survives their failures', async () => {
    const lock = new WeightsLock();
    const order: number[] = [];
    const never = lock.change(undefined, () => {
      order.push(1);
      return new Promise(() => undefined);
    });
    const failed = lock.change(undefined, () => {
      order.push(2);
      return Promise.reject(new Error('the device is gone'));
    });
    const thrown = lock.change(undefined, () => {
      order.push(3);
      throw new Error('disposed');
    });
    await expect(failed).rejects.toThrow('the device is gone');
    await expect(thrown).rejects.toThrow('disposed');
    expect(await lock.change(undefined, async () => order.push(4))).toBe(4);
    expect(await lock.read(undefined, async () => 'read')).toBe('read');
    expect(order).toEqual([1, 2, 3, 4]);
    void never;
  });
});
