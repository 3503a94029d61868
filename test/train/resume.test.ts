// Tests that a resumed run ends where the uninterrupted one ends, bit for bit: weights, moments, average and
// metrics.
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { type Device, openDevice } from '../../src/device/device.js';
import { type CreateOptions, type TrainOptions, train } from '../../src/index.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { readTrainingCheckpoint } from '../../src/train/checkpoint-folder.js';
import type { TrainEvent } from '../../src/train/events.js';
import { TestRandom } from '../helpers/random.js';

let device: Device;
let folder: string;
beforeAll(async () => {
  device = await openDevice({ backend: 'cpu' });
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-resume-'));
});
afterAll(async () => {
  await device.dispose();
  await rm(folder, { recursive: true, force: true });
});

const config = { hiddenChannels: 16, layers: 4, levels: 2, kernelSize: 5, seed: 3 };

/** Bars and squares: 203 images, so that the last batch of an epoch is short. */
function dataset(): ImageBatch {
  const count = 203;
  const data = Uint8Array.from({ length: count * 64 }, (_, i) =>
    (i * 7) % 61 < 20 + (Math.floor(i / 64) % 23) ? 220 : 30,
  );
  return { data, count, height: 8, width: 8, channels: 1 };
}

/** The same images in five classes. */
function labelled(): ImageBatch & { labels: Uint8Array } {
  const images = dataset();
  return { ...images, labels: Uint8Array.from({ length: images.count }, (_, i) => (i * 3) % 5) };
}

const options: TrainOptions = {
  epochs: 1000,
  batchSize: 16,
  learningRate: 3e-3,
  schedule: 'cosine',
  warmupSteps: 10,
  emaDecay: 0.99,
  maxGradientNorm: 1,
  protocol: 'dynamic',
  seed: 5,
  validation: 0.1,
  keepLast: 1000,
};

const gated = {
  architecture: 'gated',
  hiddenChannels: 10,
  layers: 3,
  levels: 2,
  kernelSize: 3,
  seed: 3,
} as const;

/** Classes that some images are trained without. */
const classes = { ...config, condition: { classes: 5, none: true } } as const;
const dropout = { conditionDropout: 0.3 };

async function run(
  steps: number,
  checkpointFolder: string,
  extra: TrainOptions = {},
  network: CreateOptions & { seed: number } = config,
) {
  const model = await PixelCNN.create(device, network);
  const metrics: string[] = [];
  const images = network.condition === undefined ? dataset() : labelled();
  const training = train(model, images, { ...options, steps, checkpointFolder, ...extra });
  const warnings: object[] = [];
  for await (const event of training) {
    metrics.push(metricOf(event));
    if (event.type === 'warning') warnings.push({ code: event.code, step: event.step });
  }
  const summary = await training;
  await model.dispose();
  return { summary, warnings, metrics: metrics.filter((line) => line !== '') };
}

/** What must repeat; times and paths need not. */
function metricOf(event: TrainEvent): string {
  switch (event.type) {
    case 'step':
      return `step ${event.step} ${event.nats} ${event.learningRate} ${event.gradientNorm}`;
    case 'epoch':
      return `epoch ${event.epoch} ${event.nats}`;
    case 'validation':
      return `validation ${event.epoch} ${event.nats} ${event.best}`;
    default:
      return '';
  }
}

async function stateOf(path: string) {
  const { parameters, average, training } = await readTrainingCheckpoint(path);
  return { parameters, average, training };
}

/** Trains in `parts`, stopped and resumed at each of these steps. Returns its metrics and its newest checkpoint. */
async function interrupted(
  parts: string,
  steps: number,
  stops: readonly number[],
  network: CreateOptions & { seed: number } = config,
  extra: TrainOptions = {},
) {
  const metrics: string[] = [];
  // The schedule's length is part of the run, so an interruption is a stop, not a smaller number of steps.
  for (const stopAt of [...stops, steps]) {
    // Only the first part starts from the seed's weights; the others must not need them.
    const seed = metrics.length === 0 ? network.seed : 1000 + stopAt;
    const model = await PixelCNN.create(device, { ...network, seed });
    const resumed = { ...options, ...extra, steps, checkpointFolder: parts, resume: true };
    const images = network.condition === undefined ? dataset() : labelled();
    const training = train(model, images, resumed);
    for await (const event of training) {
      if (metricOf(event) !== '') metrics.push(metricOf(event));
      if (event.type === 'step' && event.step >= stopAt) training.stop();
    }
    await training;
    await model.dispose();
  }
  const names = (await readdir(parts)).filter((name) => name.startsWith('step-'));
  return { metrics, newest: join(parts, names.sort().at(-1)!) };
}

describe('resume', () => {
  it('names a checkpoint that cannot be read before it reads the images, which takes long for many', async () => {
    await using model = await PixelCNN.create(device, config);
    const images = dataset();
    const training = train(model, images, { ...options, resume: join(folder, 'missing.safetensors') });
    structuredClone(images.data.buffer, { transfer: [images.data.buffer] });
    await expect(training).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('1,000 steps with 20 interruptions end bit-identical', { timeout: 400_000 }, async () => {
    const random = new TestRandom(19);
    const stops = new Set<number>();
    while (stops.size < 20) stops.add(random.int(1, 999));
    const whole = await run(1000, join(folder, 'whole'), { checkpointEvery: 1000 });
    const parts = await interrupted(
      join(folder, 'parts'),
      1000,
      [...stops].sort((a, b) => a - b),
    );
    const same = isDeepStrictEqual(await stateOf(parts.newest), await stateOf(whole.summary.checkpoint!));
    expect(same, 'states differ').toBe(true);
    expect(parts.metrics).toEqual(whole.metrics);
  });

  it('a gated run of 200 steps with 5 interruptions ends bit-identical', async () => {
    const random = new TestRandom(20);
    const stops = Array.from({ length: 5 }, () => random.int(1, 199)).sort((a, b) => a - b);
    const whole = await run(200, join(folder, 'gated-whole'), { checkpointEvery: 200 }, gated);
    const parts = await interrupted(join(folder, 'gated-parts'), 200, stops, gated);
    expect(await stateOf(parts.newest)).toEqual(await stateOf(whole.summary.checkpoint!));
    expect(parts.metrics).toEqual(whole.metrics);
  });

  it('a run with conditionDropout of 200 steps with 5 interruptions ends bit-identical', async () => {
    const random = new TestRandom(21);
    const stops = Array.from({ length: 5 }, () => random.int(1, 199)).sort((a, b) => a - b);
    const whole = await run(200, join(folder, 'classes'), { checkpointEvery: 200, ...dropout }, classes);
    const parts = await interrupted(join(folder, 'classes-parts'), 200, stops, classes, dropout);
    expect(await stateOf(parts.newest)).toEqual(await stateOf(whole.summary.checkpoint!));
    expect(parts.metrics).toEqual(whole.metrics);
    // Without the dropout another run comes out, so the comparison sees it.
    const without = await run(200, join(folder, 'no-dropout'), { checkpointEvery: 200 }, classes);
    expect(await stateOf(parts.newest)).not.toEqual(await stateOf(without.summary.checkpoint!));
    expect(without.warnings).toContainEqual({ code: 'NONE_UNTRAINED', step: 0 });
  });

  it('refuses another conditionDropout and other labels', async () => {
    const own = join(folder, 'classes-changed');
    await run(6, own, { checkpointEvery: 3, ...dropout }, classes);
    await using model = await PixelCNN.create(device, classes);
    const resume = { ...options, ...dropout, steps: 9, checkpointFolder: own, resume: true };
    await expect(train(model, labelled(), { ...resume, conditionDropout: 0 })).rejects.toMatchObject({
      code: 'CKPT_MISMATCH',
      message: expect.stringContaining('`conditionDropout` 0.3, this one has 0'),
    });
    const relabelled = { ...labelled(), labels: labelled().labels.map((label) => (label + 1) % 5) };
    await expect(train(model, relabelled, resume)).rejects.toMatchObject({ code: 'CKPT_MISMATCH' });
  });

  it('keeps the names of classes that the checkpoint knows, and refuses others', async () => {
    const own = join(folder, 'class-names');
    const names = ['a,b', 'c', 'd', 'e', 'f'];
    const resume = { ...options, ...dropout, checkpointFolder: own, resume: true };
    await using first = await PixelCNN.create(device, classes);
    await train(first, { ...labelled(), classNames: names }, { ...resume, steps: 3 });
    await using second = await PixelCNN.create(device, classes);
    const { checkpoint } = await train(second, labelled(), { ...resume, steps: 6 });
    expect(second.classNames).toEqual(names);
    expect((await readTrainingCheckpoint(checkpoint!)).classNames).toEqual(names);
    await using third = await PixelCNN.create(device, classes);
    const others = { ...labelled(), classNames: ['a', 'b,c', 'd', 'e', 'f'] };
    await expect(train(third, others, { ...resume, steps: 9 })).rejects.toMatchObject({
      code: 'CKPT_MISMATCH',
      message: expect.stringMatching(/whose classes are 'a,b', 'c'.*the images are 'a', 'b,c'/),
    });
  });

  it.each(['moment1.net.0.weight', 'moment2.net.2.weight', 'average', 'taken'])(
    'the comparison would show a resume that loses some of %s',
    async (what) => {
      const whole = await run(40, join(folder, `${what}-whole`));
      const parts = join(folder, `${what}-parts`);
      const { newest } = await interrupted(parts, 40, [20, 20]);
      expect(isDeepStrictEqual(await stateOf(newest), await stateOf(whole.summary.checkpoint!))).toBe(true);
      await rm(newest);

      const names = (await readdir(parts)).filter((name) => name.startsWith('step-'));
      const path = join(parts, names.sort().at(-1)!);
      const file = await readTrainingCheckpoint(path);
      const { arrays, state } = file.training!;
      const data = what === 'average' ? file.average!.get('net.0.weight')!.data : arrays.get(what)?.data;
      if (data !== undefined) for (let i = 0; i < data.length; i += 1) data[i]! *= 1 + 2 ** -20;
      const [norm, taken, skipped, unused] = state.counters as number[];
      if (what === 'taken') state.counters = [norm, taken! - 1, skipped! + 1, unused];
      await writeFile(path, encodeModel(file));
      const damaged = await interrupted(parts, 40, []);
      expect(isDeepStrictEqual(await stateOf(damaged.newest), await stateOf(whole.summary.checkpoint!))).toBe(
        false,
      );
    },
  );

  it('walks back over a damaged checkpoint and says so', async () => {
    const own = join(folder, 'damaged');
    const first = await run(20, own, { checkpointEvery: 5 });
    await writeFile(first.summary.checkpoint!, 'not a checkpoint');
    const second = await PixelCNN.create(device, config);
    const training = train(second, dataset(), { ...options, steps: 20, checkpointFolder: own, resume: true });
    const events: TrainEvent[] = [];
    for await (const event of training) events.push(event);
    const resumed = events.find((event) => event.type === 'resume');
    expect(resumed?.step).toBe(15);
    expect(resumed?.skipped).toHaveLength(1);
    expect(resumed?.skipped[0]?.path).toBe(first.summary.checkpoint);
    await second.dispose();
  });

  it('a stop during validation leaves the epoch open, and the resumed run ends it', async () => {
    const whole = await run(20, join(folder, 'open-whole'));
    const own = join(folder, 'open');
    const model = await PixelCNN.create(device, config);
    const first = train(model, dataset(), { ...options, steps: 20, checkpointFolder: own });
    const metrics: string[] = [];
    for await (const event of first) {
      if (metricOf(event) !== '') metrics.push(metricOf(event));
      // 183 images to train on are 12 steps an epoch.
      if (event.type === 'step' && event.step === 12) first.stop();
    }
    expect(metrics.some((line) => line.startsWith('epoch'))).toBe(false);
    await model.dispose();
    const rest = await run(20, own, { resume: true });
    expect([...metrics, ...rest.metrics]).toEqual(whole.metrics);
    expect(await readdir(own)).toContain('best.safetensors');
    const expected = await stateOf(join(folder, 'open-whole', 'best.safetensors'));
    expect(isDeepStrictEqual(await stateOf(join(own, 'best.safetensors')), expected)).toBe(true);
  });

  it.each([
    ['seed', { seed: 6 }],
    ['batchSize', { batchSize: 8 }],
    ['protocol', { protocol: 'threshold' as const }],
    ['validation', { validation: 0.2 }],
    ['validation', { validation: dataset() }],
  ])('refuses a run with another %s', async (name, change) => {
    const own = await mkdtemp(join(folder, `mismatch-${name}-`));
    await run(5, own);
    const model = await PixelCNN.create(device, config);
    const resumed = train(model, dataset(), {
      ...options,
      ...change,
      steps: 9,
      checkpointFolder: own,
      resume: true,
    });
    await expect(resumed).rejects.toMatchObject({
      code: 'CKPT_MISMATCH',
      message: expect.stringContaining(name),
    });
    await model.dispose();
  });

  it('refuses another dataset and another model', async () => {
    const own = join(folder, 'other');
    await run(5, own);
    const model = await PixelCNN.create(device, config);
    const changed = dataset();
    changed.data[100] = 255 - changed.data[100]!;
    const resume = { ...options, steps: 9, checkpointFolder: own, resume: true };
    await expect(train(model, changed, resume)).rejects.toMatchObject({ code: 'CKPT_MISMATCH' });
    await model.dispose();
    const larger = await PixelCNN.create(device, { ...config, hiddenChannels: 24 });
    await expect(train(larger, dataset(), resume)).rejects.toMatchObject({ code: 'CKPT_MISMATCH' });
    await larger.dispose();
  });

  const halves = (share: number): ImageBatch => {
    const { data, ...shape } = dataset();
    const count = Math.floor(203 * share);
    return { ...shape, data: data.slice(0, count * 64), count };
  };
  const first = { validation: halves(0.2), protocol: 'threshold' } as const;

  it.each([
    ['images', { ...first, validation: halves(0.4) }],
    ['weights', { ...first, emaDecay: 0 }],
  ])('does not compare validations of other %s', async (name, other) => {
    const own = join(folder, `best-${name}`);
    await run(13, own, first);
    // As if that loss could never be beaten.
    const newest = join(own, 'step-00000013.safetensors');
    const file = await readTrainingCheckpoint(newest);
    const { arrays, state } = file.training!;
    expect(state.bestOf).toEqual(expect.any(String));
    // The share of the dataset that is held out: none where other images are validated with.
    expect(state.validation).toBe(0);
    await writeFile(newest, encodeModel({ ...file, training: { arrays, state: { ...state, bestNats: 0 } } }));
    const best = async () => (await readTrainingCheckpoint(join(own, 'best.safetensors'))).training!.state;

    const same = await run(26, own, { ...first, resume: true });
    expect(same.warnings).toEqual([]);
    expect(same.summary.validation).toMatchObject({ step: 26, best: false });
    expect(await best()).toMatchObject({ step: 13 });

    const changed = await run(52, own, { ...other, resume: true });
    expect(changed.warnings).toEqual([{ code: 'OTHER_VALIDATION', step: 39 }]);
    expect((await best()).step).toBeGreaterThanOrEqual(39);
    expect((await best()).bestOf).not.toBe(state.bestOf);
  });

  it('reads checkpoints of earlier releases, which do not say what their best validation is of', async () => {
    const own = join(folder, 'best-unsaid');
    await run(13, own, first);
    const newest = join(own, 'step-00000013.safetensors');
    const file = await readTrainingCheckpoint(newest);
    const { bestOf: _, ...state } = file.training!.state;
    const training = { arrays: file.training!.arrays, state };
    await writeFile(newest, encodeModel({ ...file, step: undefined, training }));
    const { summary, warnings } = await run(26, own, { ...first, resume: true });
    expect([summary.steps, warnings]).toEqual([26, []]);
  });
});
