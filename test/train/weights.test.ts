// Tests the losses that a run reports and what its checkpoints hold, with a moving average and without.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import { parseSafetensors } from '../../src/checkpoint/safetensors.js';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { readFileBounded } from '../../src/data/read-file.js';
import { evaluate, PixelCNN, type TrainOptions, train, type Weights } from '../../src/index.js';
import { readTrainingCheckpoint } from '../../src/train/checkpoint-folder.js';
import type { TrainEvent, ValidationEvent } from '../../src/train/events.js';
import { randomImages, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const device = testDevice();
const folder = temporaryFolder('train-weights');
const config = { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3, seed: 2 };

/** Bright upper halves with noise. */
function pictures(seed: number, count: number): ImageBatch {
  const images = randomImages(new TestRandom(seed), count, 6, 6, 1);
  images.data.forEach((byte, i) => {
    if (i % 36 < 18) images.data[i] = 200 + (byte >> 3);
  });
  return images;
}
const dataset = pictures(1, 40);
const validation = pictures(2, 12);
const options: TrainOptions = { batchSize: 8, learningRate: 0.01, validation, seed: 4, keepLast: 1000 };

async function run(extra: TrainOptions, own?: string) {
  const model = await PixelCNN.create(device(), config);
  const checkpointFolder = own === undefined ? {} : { checkpointFolder: join(folder, own) };
  const training = train(model, dataset, { ...options, ...checkpointFolder, ...extra });
  const events: TrainEvent[] = [];
  for await (const event of training) events.push(event);
  return { model, events, summary: await training };
}
const ofType = <Type extends TrainEvent['type']>(events: TrainEvent[], type: Type) =>
  events.filter((event): event is Extract<TrainEvent, { type: Type }> => event.type === type);

async function tensorsOf(path: string) {
  const { metadata, tensors } = parseSafetensors(await readFileBounded(path));
  return { weights: metadata['pixelcnn.weights'], names: [...tensors.keys()] };
}

/** The validation loss of each set of weights in a checkpoint, by a model that holds it alone. */
async function lossesOf(path: string): Promise<Partial<Record<Weights, number>>> {
  const losses: Partial<Record<Weights, number>> = {};
  await using both = await PixelCNN.load(device(), path);
  for (const weights of both.weights) {
    const file = join(folder, 'alone.safetensors');
    await both.save(file, { weights });
    await using model = await PixelCNN.load(device(), file);
    losses[weights] = (await evaluate(model, validation)).nats;
  }
  return losses;
}

/** The weights whose loss in the checkpoint of its step a validation tells. */
async function weightsOf(event: Pick<ValidationEvent, 'step' | 'nats'>, own: string): Promise<Weights[]> {
  const name = `step-${String(event.step).padStart(8, '0')}.safetensors`;
  const losses = await lossesOf(join(folder, own, name));
  return (['raw', 'ema'] as const).filter((weights) => Math.abs(losses[weights]! - event.nats) < 1e-9);
}

describe('a run', () => {
  it.each([
    ['without an average', 'raw-run', {}, ['raw']],
    ['with an average', 'ema-run', { emaDecay: 0.9 }, ['raw', 'ema']],
  ] as const)('%s tells which weights each number is of', async (_, own, extra, held) => {
    const { model, events, summary } = await run({ epochs: 3, samples: 2, ...extra }, own);
    expect(model.weights).toEqual(held);
    const best = held.at(-1);
    for (const event of [...ofType(events, 'step'), ...ofType(events, 'epoch')])
      expect(event).toMatchObject({ split: 'train', weights: 'raw', protocol: 'levels' });
    const validations = ofType(events, 'validation');
    expect(validations).toHaveLength(3);
    for (const event of validations) {
      expect(event).toMatchObject({ split: 'validation', weights: best, protocol: 'levels', images: 12 });
      // By the number, not by the label.
      expect(await weightsOf(event, own)).toEqual([event.weights]);
      expect(await weightsOf({ ...event, nats: event.nats + 1 }, own)).toEqual([]);
    }
    expect(summary.validation).toEqual(validations.at(-1));
    const samples = ofType(events, 'sample');
    expect(samples).toHaveLength(3);
    const last = samples.at(-1)!.images;
    expect(last.weights).toBe(best);
    const size = { height: 6, width: 6, count: 2, seed: 4 };
    expect(last).toEqual(await model.sample({ ...size, weights: last.weights }));
    await model.dispose();
  });

  it('whose checkpoints hold both with an average, and raw weights alone without', async () => {
    const held = { 'raw-run': 'raw', 'ema-run': 'raw+ema' };
    for (const [own, expected] of Object.entries(held)) {
      for (const name of await readdir(join(folder, own))) {
        if (!name.endsWith('.safetensors')) continue;
        const { weights, names } = await tensorsOf(join(folder, own, name));
        expect([own, name, weights]).toEqual([own, name, expected]);
        expect(names.some((tensor) => tensor.startsWith('ema.'))).toBe(expected === 'raw+ema');
      }
    }
  });

  it('says what the loss of its summary is of', async () => {
    const within = await run({ steps: 3 });
    expect(within.summary).toMatchObject({
      lossOf: 'step',
      split: 'train',
      weights: 'raw',
      protocol: 'levels',
    });
    expect(within.summary.nats).toBe(ofType(within.events, 'step').at(-1)!.nats);
    // An epoch is 5 steps; the run ends within the second, and its last loss is of the first as a whole.
    const beyond = await run({ steps: 7 });
    expect(beyond.summary).toMatchObject({ lossOf: 'epoch' });
    const [epoch] = ofType(beyond.events, 'epoch');
    expect([beyond.summary.nats, beyond.summary.bitsPerDim]).toEqual([epoch!.nats, epoch!.bitsPerDim]);
    expect(beyond.summary.nats).not.toBe(ofType(beyond.events, 'step').at(-1)!.nats);
    const means = ofType(beyond.events, 'step').slice(0, 5);
    expect(epoch!.nats).toBeCloseTo(means.reduce((sum, { nats }) => sum + nats, 0) / 5, 9);
    for (const { model } of [within, beyond]) await model.dispose();
    const done = await run({ epochs: 3, resume: true }, 'raw-run');
    expect(done.summary).toMatchObject({ lossOf: 'none', nats: Number.NaN, validation: undefined });
    await done.model.dispose();
  });

  it('has no loss for an epoch whose steps were all skipped', async () => {
    const model = await PixelCNN.create(device(), config);
    // Weight decay times learning rate of 100 multiplies the weights by -99 a step until they overflow.
    const overflow = { learningRate: 10, epsilon: 1, weightDecay: 10 };
    const training = train(model, dataset, { ...options, ...overflow, epochs: 9, maxSkippedSteps: 1000 });
    const events: TrainEvent[] = [];
    for await (const event of training) events.push(event);
    const allSkipped = ofType(events, 'epoch').filter(({ epoch }) =>
      ofType(events, 'step').every((step) => step.epoch !== epoch || step.skipped),
    );
    expect(allSkipped.length).toBeGreaterThan(0);
    for (const { nats, bitsPerDim } of allSkipped)
      expect([nats, bitsPerDim]).toEqual([Number.NaN, Number.NaN]);
    await model.dispose();
  });
});

describe('resuming', () => {
  const stateOf = async (path: string) => {
    const { weights, parameters, average, training } = await readTrainingCheckpoint(path);
    return { weights, parameters, average, training };
  };

  it('a run without an average ends bit for bit where the uninterrupted one ends', async () => {
    const whole = await run({ steps: 23, schedule: 'cosine' }, 'whole');
    for (const stopAt of [4, 11, 15, 23]) {
      const model = await PixelCNN.create(device(), { ...config, seed: stopAt === 4 ? config.seed : stopAt });
      const training = train(model, dataset, {
        ...options,
        steps: 23,
        schedule: 'cosine',
        checkpointFolder: join(folder, 'parts'),
        resume: true,
      });
      for await (const event of training) if (event.type === 'step' && event.step >= stopAt) training.stop();
      await training;
      expect(model.weights).toEqual(['raw']);
      await model.dispose();
    }
    const name = 'step-00000023.safetensors';
    const [ended, expected] = [join(folder, 'parts', name), join(folder, 'whole', name)];
    expect(await stateOf(expected)).toMatchObject({ weights: 'raw', average: undefined });
    expect(isDeepStrictEqual(await stateOf(ended), await stateOf(expected))).toBe(true);
    const other = join(folder, 'whole', 'step-00000020.safetensors');
    expect(isDeepStrictEqual(await stateOf(other), await stateOf(expected))).toBe(false);
    await whole.model.dispose();
  });

  it('with an average begins it at the weights of a run that had none', async () => {
    const first = await run({ steps: 8 }, 'begin-average');
    await first.model.dispose();
    const raw = (await readTrainingCheckpoint(first.summary.checkpoint!)).parameters;
    // A rate of 0 leaves the weights as they are, and with them an average that begins at them.
    const rest = { steps: 10, learningRate: 0, emaDecay: 0.9, resume: true };
    const second = await run(rest, 'begin-average');
    expect(second.model.weights).toEqual(['raw', 'ema']);
    expect(await second.model.parameters('raw')).toEqual(raw);
    expect(await second.model.parameters('ema')).toEqual(raw);
    await second.model.dispose();
  });

  it('without an average ends the one there was, and no file calls anything else by its name', async () => {
    const first = await run({ steps: 8, emaDecay: 0.9 }, 'end-average');
    await first.model.dispose();
    const still = await run({ steps: 8, resume: true }, 'end-average');
    expect(still.model.weights).toEqual(['raw', 'ema']);
    expect(await still.model.parameters('ema')).not.toEqual(await still.model.parameters('raw'));
    await still.model.dispose();
    const second = await run({ steps: 10, resume: true }, 'end-average');
    expect(second.model.weights).toEqual(['raw']);
    expect((await tensorsOf(second.summary.checkpoint!)).weights).toBe('raw');
    const [validated] = ofType(second.events, 'validation');
    expect(validated).toMatchObject({ step: 10, weights: 'raw' });
    expect(await weightsOf(validated!, 'end-average')).toEqual(['raw']);
    await second.model.dispose();
  });

  it('before its validation validates what the checkpoint holds', async () => {
    const model = await PixelCNN.create(device(), config);
    const own = { ...options, epochs: 2, checkpointFolder: join(folder, 'open') };
    const training = train(model, dataset, own);
    for await (const event of training) if (event.type === 'step' && event.step === 5) training.stop();
    await training;
    await model.dispose();
    const { model: resumed, events } = await run({ epochs: 2, emaDecay: 0.9, resume: true }, 'open');
    const validations = ofType(events, 'validation');
    expect(validations.map(({ step, weights }) => [step, weights])).toEqual([
      [5, 'raw'],
      [10, 'ema'],
    ]);
    expect(await weightsOf(validations[1]!, 'open')).toEqual(['ema']);
    await resumed.dispose();
  });
});
