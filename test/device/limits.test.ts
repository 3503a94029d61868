// Tests a device's limits: calls beyond them are refused and leave everything usable. limits.timed.test.ts tests
// how soon.
import { describe, expect, it } from 'vitest';
import { PixelCNN } from '../../src/pixelcnn.js';
import { train } from '../../src/train/trainer.js';
import { runChild } from '../helpers/child.js';
import { randomImages } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { long, outcome, short, withLimits } from './with-limits.js';

describe('limits of a device', () => {
  it('are finite by default', async () => {
    await withLimits(undefined, async (_model, device) => {
      expect(device.calls.limits).toEqual({
        maxQueue: 64,
        maxBatch: 65536,
        maxPixels: 2 ** 26,
        timeoutMs: 3_600_000,
      });
    });
  });

  it('maxQueue: one call more is refused, and there is room again when one has ended', async () => {
    await withLimits({ maxQueue: 3 }, async (model) => {
      const controller = new AbortController();
      const under = [1, 2, 3].map(() => outcome(model.sample({ ...long, signal: controller.signal })));
      await expect(model.sample(short)).rejects.toMatchObject({
        code: 'ERR_QUEUE_FULL',
        message: expect.stringContaining('at most 3'),
        remedy: expect.stringContaining('maxQueue'),
      });
      await expect(model.sampleStream(short).next()).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' });
      const images = randomImages(new TestRandom(1), 2, 4, 4, 1);
      expect(await outcome(model.logLikelihood(images))).toBe('ERR_QUEUE_FULL');
      // Training is no request: it is not refused, nor are its validation and samples. It is of another model, since a
      // step waits for the calls under way on its own.
      await using other = await PixelCNN.create(model.device, model.config);
      expect(await outcome(train(other, images, { validation: 0.5, samples: 2 }))).toBe('worked');
      controller.abort(new Error('enough'));
      for (const call of under) expect(await call).toMatchObject({ message: 'enough' });
      expect(await outcome(model.sample(short))).toBe('worked');
    });
  });

  it('a stream has its place until it ends, also when it is left early', async () => {
    await withLimits({ maxQueue: 1 }, async (model) => {
      const stream = model.sampleStream({ height: 8, width: 8 });
      await stream.next();
      expect(await outcome(model.sample(short))).toBe('ERR_QUEUE_FULL');
      await stream.return(undefined as never);
      expect(await outcome(model.sample(short))).toBe('worked');
    });
  });

  it('maxBatch and maxPixels: exactly the limit works, one more does not', async () => {
    await withLimits({ maxBatch: 3, maxPixels: 48 }, async (model) => {
      const random = new TestRandom(1);
      const calls = (count: number, side: number) => {
        const images = randomImages(random, count, side, 4, 1);
        return [
          () => model.sample({ count, height: side, width: 4 }),
          () => model.complete({ images, known: new Uint8Array(count * side * 4) }),
          () => model.logits(images),
          () => model.trace(images),
        ];
      };
      for (const call of calls(3, 4)) expect(await outcome(call())).toBe('worked');
      for (const call of calls(4, 3)) await expect(call()).rejects.toThrow(/3 images \(maxBatch\)/);
      for (const call of calls(1, 13)) await expect(call()).rejects.toThrow(/48 pixels \(maxPixels\)/);
      for (const call of calls(1, 13)) expect(await outcome(call())).toBe('ERR_LIMIT');
    });
  });

  it('a signal of long life gathers no listeners', async () => {
    await withLimits(undefined, async (model) => {
      const { signal } = new AbortController();
      let listeners = 0;
      const [add, remove] = [signal.addEventListener, signal.removeEventListener];
      signal.addEventListener = (...args: Parameters<typeof add>) => {
        listeners += 1;
        add.apply(signal, args);
      };
      signal.removeEventListener = (...args: Parameters<typeof remove>) => {
        listeners -= 1;
        remove.apply(signal, args);
      };
      await Promise.all([1, 2, 3, 4, 5].map((seed) => model.sample({ ...short, seed, signal })));
      expect(listeners).toBe(0);
    });
  });

  it("the model's own image size is held to the same range", async () => {
    await withLimits(undefined, async (model) => {
      for (const imageSize of [
        { height: -1, width: 4 },
        { height: 4, width: 1e9 },
        { height: 4.5, width: 4 },
      ]) {
        model.imageSize = imageSize;
        expect(await outcome(model.sample())).toBe('ERR_OUT_OF_RANGE');
      }
    });
  });
});

describe('an abort', () => {
  it('ends many calls at once, without a warning of Node.js', async () => {
    const warnings: string[] = [];
    const listen = (warning: Error) => warnings.push(warning.message);
    process.on('warning', listen);
    await withLimits(undefined, async (model) => {
      const controller = new AbortController();
      const calls = Array.from({ length: 60 }, () =>
        outcome(model.sample({ ...long, signal: controller.signal })),
      );
      controller.abort(new Error('enough'));
      for (const call of calls) expect(await call).toMatchObject({ message: 'enough' });
    });
    process.off('warning', listen);
    expect(warnings).toEqual([]);
  });

  it('ends training within one step', async () => {
    await withLimits(undefined, async (model) => {
      const images = randomImages(new TestRandom(1), 64, 16, 16, 1);
      const controller = new AbortController();
      const run = train(model, images, { batchSize: 4, epochs: 1000, signal: controller.signal });
      const steps: number[] = [];
      const consume = async () => {
        for await (const event of run) {
          if (event.type !== 'step') continue;
          steps.push(event.step);
          if (event.step === 5) controller.abort(new Error('enough'));
        }
      };
      await expect(consume()).rejects.toThrow('enough');
      // Two steps are in flight at a time.
      expect(steps.at(-1)).toBeLessThanOrEqual(7);
    });
  });
});

describe('arrays of the caller', () => {
  it('a data set that is transferred away ends its training', async () => {
    await withLimits(undefined, async (model) => {
      const images = randomImages(new TestRandom(1), 64, 8, 8, 1);
      const run = train(model, images, { batchSize: 4, epochs: 1000 });
      setTimeout(
        () => structuredClone(images.data.buffer, { transfer: [images.data.buffer as ArrayBuffer] }),
        20,
      );
      await expect(run).rejects.toMatchObject({ code: 'ERR_DETACHED' });
    });
  });

  it('images are read once: a getter cannot change its answer, and may throw', async () => {
    await withLimits(undefined, async (model) => {
      let reads = 0;
      const plain = randomImages(new TestRandom(1), 2, 4, 4, 1);
      const tricky = {
        ...plain,
        get height() {
          reads += 1;
          return reads === 1 ? 4 : 4000;
        },
      };
      expect(await model.logLikelihood(tricky)).toEqual(await model.logLikelihood(plain));
      expect(reads).toBe(1);
      const cause = new Error('planted');
      const throwing = Object.defineProperty({ ...plain }, 'count', {
        get: () => {
          throw cause;
        },
      });
      const calls = [
        () => model.logits(throwing),
        () => model.complete({ images: throwing, known: new Uint8Array(32) }),
        async () => train(model, throwing),
      ];
      for (const call of calls)
        await expect(call()).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE', cause });
    });
  });
});

describe('out of memory', () => {
  it('is an error with a code, every time, and the model goes on', { timeout: 240_000 }, async () => {
    if (process.platform !== 'linux') {
      console.warn('SKIPPED out of memory: the limit on memory is set with prlimit, on Linux');
      return;
    }
    const child = await runChild('device/children/out-of-memory.mjs', { args: ['4'], timeout: 200_000 });
    expect({ code: child.code, signal: child.signal }, child.stderr).toEqual({ code: 0, signal: null });
    const { codes, wrong } = JSON.parse(child.stdout) as { codes: Record<string, number>; wrong: string[] };
    console.info(codes);
    expect(wrong).toEqual([]);
    for (const name of Object.keys(codes))
      expect(name).toMatch(/ (ERR_OUT_OF_MEMORY|ERR_THREADS|RangeError)$/);
  });
});
