// Tests the training loop: learning, events, stopping, the guard against gradients that are not finite.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { type Device, openDevice } from '../../src/device/device.js';
import { evaluate, PixelCNN, PixelCnnError, train } from '../../src/index.js';
import { Program } from '../../src/program/program.js';
import { splitIndices } from '../../src/train/batches.js';
import type { TrainEvent } from '../../src/train/events.js';
import { learningRateAt } from '../../src/train/learning-rate.js';
import { trainSchema } from '../../src/train/options.js';
import { presets } from '../../src/train/presets.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const temporary = temporaryFolder('trainer');
let device: Device;
beforeAll(async () => {
  device = await openDevice({ backend: 'cpu' });
});
afterAll(() => device.dispose());

const config = { hiddenChannels: 16, layers: 4, levels: 4, kernelSize: 3 };

/** Vertical stripes of two phases: easy to learn. */
function stripes(count = 64): ImageBatch {
  const data = Uint8Array.from({ length: count * 64 }, (_, i) =>
    (i + Math.floor(i / 64)) % 2 === 0 ? 250 : 5,
  );
  return { data, count, height: 8, width: 8, channels: 1 };
}

describe('train', () => {
  it('overfits stripes to nearly nothing but the phase bit', { timeout: 120_000 }, async () => {
    const model = await PixelCNN.create(device, config);
    const summary = await train(model, stripes(), { epochs: 100, batchSize: 16, learningRate: 3e-3 });
    expect(summary.steps).toBe(400);
    expect(summary.stopped).toBe(false);
    const { nats } = await evaluate(model, stripes());
    // One fair bit tells the phase: ln 2 nats, and hardly more.
    expect(nats).toBeGreaterThan(Math.LN2 * 0.98);
    expect(nats).toBeLessThan(Math.LN2 + 0.1);
    const drawn = await model.sample({ count: 8, seed: 1 });
    expect(drawn).toMatchObject({ height: 8, width: 8 });
    await model.dispose();
  });

  it('resolves with the fields of the summary in the order in which summary.json has them', async () => {
    await using model = await PixelCNN.create(device, config);
    const summary = await train(model, stripes(8), { steps: 1, batchSize: 4, validation: 0.5 });
    const loss = ['lossOf', 'nats', 'bitsPerDim', 'split', 'weights', 'protocol'];
    const rest = ['skippedSteps', 'seconds', 'stopped', 'validation', 'checkpoint'];
    expect(Object.keys(summary)).toEqual(['steps', 'epochs', ...loss, ...rest]);
  });

  it('compiles one program per batch size, also for two steps in flight', async () => {
    const compile = vi.spyOn(Program, 'compile');
    const model = await PixelCNN.create(device, config);
    await train(model, stripes(40), { epochs: 2, batchSize: 16 });
    expect(compile).toHaveBeenCalledTimes(2);
    compile.mockRestore();
    await model.dispose();
  });

  it('emits steps, epochs, validation and samples in order, and numbers them from 1', async () => {
    const model = await PixelCNN.create(device, config);
    const events: TrainEvent[] = [];
    const run = train(model, stripes(50), { epochs: 2, batchSize: 16, validation: 0.2, samples: 2 });
    for await (const event of run) events.push(event);
    const kinds = events.map(({ type }) => type);
    expect(kinds).toEqual([
      'step',
      'step',
      'step',
      'epoch',
      'validation',
      'sample',
      'step',
      'step',
      'step',
      'epoch',
      'validation',
      'sample',
    ]);
    expect(events.flatMap((event) => (event.type === 'step' ? [event.step] : []))).toEqual([
      1, 2, 3, 4, 5, 6,
    ]);
    const validation = events.find((event) => event.type === 'validation');
    expect(validation?.images).toBe(10);
    await model.dispose();
  });

  it('gives the same losses twice, and others with another seed', async () => {
    const losses = async (seed: number) => {
      const model = await PixelCNN.create(device, config);
      const values: number[] = [];
      for await (const event of train(model, stripes(), { epochs: 2, seed })) {
        if (event.type === 'step') values.push(event.nats);
      }
      await model.dispose();
      return values;
    };
    const first = await losses(1);
    expect(await losses(1)).toEqual(first);
    expect(await losses(2)).not.toEqual(first);
  });

  it('stop() ends after the step in progress; a signal rejects with its reason', async () => {
    const model = await PixelCNN.create(device, config);
    const run = train(model, stripes(), { epochs: 1000 });
    for await (const event of run) if (event.type === 'step' && event.step === 5) run.stop();
    const summary = await run;
    expect(summary.stopped).toBe(true);
    expect(summary.steps).toBeLessThan(12);
    const controller = new AbortController();
    const aborted = train(model, stripes(), { epochs: 1000, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 20);
    await expect(aborted).rejects.toThrow('enough');
    expect(() => train(model, stripes(), { signal: AbortSignal.abort(new Error('no')) })).toThrow('no');
    await model.dispose();
  });

  it.each([
    [{}, 4],
    [{ epochs: 3 }, 12],
    [{ steps: 2 }, 2],
    [{ steps: 11 }, 11],
    [{ steps: 11, epochs: 2 }, 8],
    [{ steps: 7, epochs: 2 }, 7],
  ])('of 4 steps an epoch, %j are %i steps, and the schedule ends with them', async (length, expected) => {
    const model = await PixelCNN.create(device, config);
    const run = train(model, stripes(), { ...length, batchSize: 16, schedule: 'cosine', learningRate: 1e-3 });
    const rates: number[] = [];
    for await (const event of run) {
      if (event.type !== 'step') continue;
      expect(event.totalSteps).toBe(expected);
      rates.push(event.learningRate);
    }
    expect(rates).toHaveLength(expected);
    expect(rates.at(-1)).toBeCloseTo((1e-3 * (1 + Math.cos((Math.PI * (expected - 1)) / expected))) / 2, 12);
    await model.dispose();
  });

  it('skips steps whose gradient is not finite, then stops with ERR_DIVERGED', async () => {
    const model = await PixelCNN.create(device, config);
    const run = train(model, stripes(), {
      epochs: 50,
      learningRate: 10,
      epsilon: 1,
      weightDecay: 10,
      maxSkippedSteps: 3,
    });
    // Weight decay times learning rate of 100 multiplies the weights by -99 a step until they overflow.
    let skipped = 0;
    await expect(async () => {
      for await (const event of run) if (event.type === 'step' && event.skipped) skipped += 1;
    }).rejects.toMatchObject({ code: 'ERR_DIVERGED' });
    expect(skipped).toBe(3);
    await model.dispose();
  });

  it('dispose of the device mid-run rejects the run with ERR_DISPOSED', async () => {
    const own = await openDevice({ backend: 'cpu', threads: 1 });
    const model = await PixelCNN.create(own, config);
    const run = train(model, stripes(), { epochs: 1000 });
    setTimeout(() => own.dispose(), 30);
    await expect(run).rejects.toMatchObject({ code: 'ERR_DISPOSED' });
  });

  it.each([
    [{ epochs: 0 }, 'epochs'],
    [{ batchSize: 1.5 }, 'batchSize'],
    [{ learningRate: Number.NaN }, 'learningRate'],
    [{ protocol: 'dynamic' }, 'dynamic'],
    [{ learningrate: 1 }, "did you mean 'learningRate'"],
    [{ resume: true }, 'checkpointFolder'],
  ])('refuses %j', async (options, word) => {
    const model = await PixelCNN.create(device, config);
    const attempt = async () => train(model, stripes(), options as object);
    await expect(attempt()).rejects.toMatchObject({
      name: 'PixelCnnError',
      code: expect.stringMatching(/^ERR_/),
      message: expect.stringContaining(word),
    });
    await model.dispose();
  });
});

describe('onEvent', () => {
  it('is called with every event, in order, as they are iterated', async () => {
    await using model = await PixelCNN.create(device, config);
    const [called, iterated]: TrainEvent[][] = [[], []];
    const options = { epochs: 2, batchSize: 16, validation: 0.2, samples: 1 };
    const run = train(model, stripes(50), { ...options, onEvent: (event) => called!.push(event) });
    for await (const event of run) iterated!.push(event);
    expect(called!.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['step', 'epoch', 'validation', 'sample']),
    );
    expect(called).toEqual(iterated);
    // Nobody need iterate for it.
    const alone: TrainEvent[] = [];
    await using other = await PixelCNN.create(device, config);
    await train(other, stripes(50), { ...options, onEvent: (event) => alone.push(event) });
    expect(alone.map(({ type }) => type)).toEqual(called!.map(({ type }) => type));
  });

  it.each(['step', 'validation', 'epoch'])('ends the run with what it throws at a %s', async (type) => {
    await using model = await PixelCNN.create(device, config);
    let calls = 0;
    // An error of the library's own kind is the caller's, too.
    const error = new PixelCnnError('ENOSPC', 'of the caller');
    const run = train(model, stripes(50), {
      epochs: type === 'step' ? 1000 : 1,
      batchSize: 16,
      validation: 0.2,
      onEvent: (event) => {
        calls += event.type === type ? 1 : 0;
        if (event.type === type) throw error;
      },
    });
    await expect(run).rejects.toBe(error);
    expect(calls).toBe(1);
    expect((await train(model, stripes(50), { steps: 1 })).steps).toBe(1);
  });

  it('must be a function', async () => {
    await using model = await PixelCNN.create(device, config);
    const error = expect.objectContaining({
      message: expect.stringContaining('onEvent: expected a function'),
    });
    expect(() => train(model, stripes(8), { onEvent: 3 as never })).toThrow(error);
  });
});

describe('images that are transferred away meanwhile', () => {
  const transfer = ({ data }: ImageBatch) =>
    structuredClone(data.buffer, { transfer: [data.buffer as ArrayBuffer] });

  it.each(['step', 'validating'])('as validation are an error that says so: at a %s', async (type) => {
    await using model = await PixelCNN.create(device, config);
    const validation = type === 'step' ? stripes(20) : stripes(200_000);
    const run = train(model, stripes(50), {
      epochs: 2,
      batchSize: 16,
      validation,
      onEvent: (event) => event.type === type && validation.data.length > 0 && transfer(validation),
    });
    const error = { code: 'ERR_DETACHED', message: expect.stringContaining('train: validation.data') };
    await expect(run).rejects.toMatchObject(error);
  });

  it('after the last step do not keep it from being saved', async () => {
    await using model = await PixelCNN.create(device, config);
    const dataset = stripes(16);
    const checkpointFolder = join(temporary, 'transferred');
    const onEvent = (event: TrainEvent) => event.type === 'step' && transfer(dataset);
    const options = { steps: 1, batchSize: 16, checkpointFolder };
    const { checkpoint } = await train(model, dataset, { ...options, onEvent });
    const resumed = await train(model, stripes(16), { ...options, resume: true });
    expect([resumed.steps, resumed.checkpoint]).toEqual([1, checkpoint]);
  });
});

describe('a run that is refused', () => {
  it('leaves the model as it was', async () => {
    await using model = await PixelCNN.create(device, config);
    const checkpointFolder = join(temporary, 'refused');
    await train(model, stripes(16), { steps: 1, checkpointFolder });
    const before = [model.imageSize, model.weights];
    expect(before[0]).toEqual({ height: 8, width: 8 });
    const other = { ...stripes(16), count: 32, height: 4 };
    const refused = train(model, other, { steps: 2, emaDecay: 0.9, checkpointFolder, resume: true });
    await expect(refused).rejects.toMatchObject({ code: 'CKPT_MISMATCH' });
    expect([model.imageSize, model.weights]).toEqual(before);
  });
});

describe('evaluate', () => {
  it('is a mean over every image, whatever the chunks', async () => {
    const model = await PixelCNN.create(device, config);
    const images = stripes(37);
    const { nats } = await model.logLikelihood(images);
    const result = await evaluate(model, images);
    expect(result.images).toBe(37);
    expect(result.nats).toBeCloseTo(nats.reduce((sum, value) => sum + value, 0) / 37, 10);
    expect(result.bitsPerDim).toBeCloseTo(result.nats / (64 * Math.LN2), 12);
    await model.dispose();
  });

  it('draws dynamic binarisation anew for every draw', async () => {
    const model = await PixelCNN.create(device, { ...config, levels: 2 });
    const grey: ImageBatch = { ...stripes(16), data: new Uint8Array(16 * 64).fill(128) };
    const result = await evaluate(model, grey, { protocol: 'dynamic', draws: 3 });
    expect(new Set(result.natsPerDraw).size).toBe(3);
    expect(await evaluate(model, grey, { protocol: 'dynamic', draws: 3 })).toEqual(result);
    await model.dispose();
  });

  it('takes the protocol of the training, unless another is asked for', async () => {
    await using model = await PixelCNN.create(device, { ...config, levels: 2 });
    expect((await evaluate(model, stripes())).protocol).toBe('levels');
    await train(model, stripes(), { steps: 1, protocol: 'dynamic' });
    const byDefault = await evaluate(model, stripes(), { draws: 2 });
    expect(byDefault).toEqual(await evaluate(model, stripes(), { draws: 2, protocol: 'dynamic' }));
    expect(byDefault).toMatchObject({ protocol: 'dynamic', natsPerDraw: { length: 2 } });
    expect((await evaluate(model, stripes(), { protocol: 'threshold' })).protocol).toBe('threshold');
  });
});

const learningRateBase = {
  schedule: 'cosine',
  learningRate: 1,
  warmupSteps: 10,
  decaySteps: 5,
  decayFactor: 0.5,
} as const;

describe('learningRateAt', () => {
  const base = learningRateBase;
  it('warms up linearly and then decays', () => {
    expect(learningRateAt(base, 0, 110)).toBeCloseTo(0.1);
    expect(learningRateAt(base, 9, 110)).toBeCloseTo(1);
    expect(learningRateAt(base, 60, 110)).toBeCloseTo(0.5);
    expect(learningRateAt(base, 110, 110)).toBeCloseTo(0);
    expect(learningRateAt({ ...base, schedule: 'step' }, 21, 110)).toBeCloseTo(0.25);
    expect(learningRateAt({ ...base, schedule: 'constant' }, 99, 110)).toBe(1);
  });
});

describe('a warm-up', () => {
  it('below 1 is a share of the run', () => {
    const schedule = { ...learningRateBase, warmupSteps: 0.25 };
    const whole = { ...learningRateBase, warmupSteps: 25 };
    for (const step of [0, 10, 24, 25, 60, 99])
      expect(learningRateAt(schedule, step, 100)).toBe(learningRateAt(whole, step, 100));
    expect(learningRateAt({ ...schedule, warmupSteps: 0.01 }, 0, 20)).toBe(1);
  });

  it.each(Object.entries(presets))('of %s is over early, however short the run', (_, { training }) => {
    const schedule = trainSchema.parse(training);
    for (const steps of [10, 100, 1000])
      expect(learningRateAt(schedule, Math.ceil(steps / 10), steps)).toBeGreaterThan(
        0.9 * schedule.learningRate,
      );
  });

  it('that is longer than the run is told, and one that is not is not', async () => {
    const told = async (warmupSteps: number) => {
      const model = await PixelCNN.create(device, config);
      const warnings: TrainEvent[] = [];
      for await (const event of train(model, stripes(32), { steps: 4, batchSize: 16, warmupSteps }))
        if (event.type === 'warning') warnings.push(event);
      await model.dispose();
      return warnings;
    };
    expect(await told(3)).toEqual([]);
    expect(await told(0.5)).toEqual([]);
    for (const warmupSteps of [4, 500]) {
      const [warning, ...rest] = await told(warmupSteps);
      expect(rest).toEqual([]);
      expect(warning).toMatchObject({ code: 'WARMUP_LONGER_THAN_RUN', step: 0 });
      expect(warning).toHaveProperty('message', expect.stringContaining(`${warmupSteps} steps`));
    }
  });
});

describe('two runs of one model', () => {
  it('are refused, until the first has ended, however it ends', async () => {
    const model = await PixelCNN.create(device, config);
    const inUse = expect.objectContaining({ code: 'ERR_MODEL_IN_USE' });
    const refused = () => expect(() => train(model, stripes(32), { steps: 1 })).toThrow(inUse);
    const first = train(model, stripes(32), { epochs: 50 });
    refused();
    first.stop();
    await first;
    const aborted = new AbortController();
    const second = train(model, stripes(32), { epochs: 50, signal: aborted.signal });
    refused();
    aborted.abort(new Error('enough'));
    await expect(second).rejects.toThrow('enough');
    // Arguments that are refused leave nothing behind.
    expect(() => train(model, stripes(32), { steps: 0 })).toThrow();
    const other = await PixelCNN.create(device, config);
    await Promise.all([train(model, stripes(32), { steps: 2 }), train(other, stripes(32), { steps: 2 })]);
    await model.dispose();
    await other.dispose();
  });
});

describe('splitIndices', () => {
  it('is a partition that depends on the seed alone', () => {
    const { training, validation } = splitIndices(100, 0.25, 7);
    expect(validation).toHaveLength(25);
    expect([...training, ...validation].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 100 }, (_, i) => i),
    );
    expect(splitIndices(100, 0.25, 7)).toEqual({ training, validation });
    expect(splitIndices(100, 0.25, 8).validation).not.toEqual(validation);
  });
});
