// Tests the labels of numbers: every public function and every command that gives a loss says which weights, split
// and protocol it is of, and the number under the label is theirs; bits per dimension are the nats of the same
// object.
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { selectImages } from '../src/data/image-batch.js';
import * as api from '../src/index.js';
import { evaluate, type ImageBatch, loadImages, PixelCNN, type TrainEvent, train } from '../src/index.js';
import { splitIndices } from '../src/train/batches.js';
import { jsonLines, testFolder, tiny } from './cli/run-cli.js';
import { randomImages, testDevice } from './helpers/models.js';
import { TestRandom } from './helpers/random.js';

const device = testDevice();
const { run, path } = testFolder();

/**
 * Objects anywhere in `value` that hold a loss without a label that it needs, or bits that are not those of its nats.
 * `dimensions` are the values of one image.
 */
function faultsOf(value: unknown, labels: readonly string[], dimensions: number, at = ''): string[] {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return [];
  const object = value as Record<string, unknown>;
  const inner = Object.entries(object).flatMap(([key, one]) =>
    faultsOf(one, labels, dimensions, `${at}.${key}`),
  );
  if (!('nats' in object) && !('bitsPerDim' in object)) return inner;
  const missing = labels.filter((label) => object[label] === undefined).map((label) => `${at}: no ${label}`);
  const [nats] = [object.nats].flat() as (number | null | undefined | Float64Array)[];
  const [bits] = [object.bitsPerDim].flat() as (number | null | undefined | Float64Array)[];
  const all = (one: typeof nats) => (ArrayBuffer.isView(one) ? [...one] : [one ?? Number.NaN]);
  const expected = all(nats).map((one) => one / (dimensions * Math.LN2));
  const same = expected.every(
    (one, i) => Object.is(one, all(bits)[i]) || Math.abs(one - all(bits)[i]!) < 1e-9 * one,
  );
  return [
    ...missing,
    ...(same ? [] : [`${at}: ${String(bits)} bits are not ${String(nats)} nats`]),
    ...inner,
  ];
}

describe('faultsOf', () => {
  const good = { nats: 64 * Math.LN2, bitsPerDim: 1, weights: 'raw', split: 'train' };
  it('finds a missing label and wrong units, at any depth', () => {
    expect(faultsOf({ a: [good] }, ['weights', 'split'], 64)).toEqual([]);
    expect(faultsOf({ a: [{ ...good, split: undefined }] }, ['weights', 'split'], 64)).toEqual([
      '.a.0: no split',
    ]);
    expect(faultsOf({ ...good, bitsPerDim: 0.5 }, ['weights'], 64)).toHaveLength(1);
    expect(
      faultsOf({ nats: Float64Array.of(64 * Math.LN2, 0), bitsPerDim: Float64Array.of(1, 0) }, [], 64),
    ).toEqual([]);
    expect(faultsOf({ nats: Float64Array.of(1, 2), bitsPerDim: Float64Array.of(1, 2) }, [], 64)).toHaveLength(
      1,
    );
  });
});

describe('the functions of the package', () => {
  /** Functions that tell no number of a model, and why. A new function must be put here or be tested below. */
  const withoutNumbers: Readonly<Record<string, string>> = {
    PixelCnnError: 'the error type',
    decodePng: 'bytes of a file',
    encodePng: 'bytes of a file',
    imageGrid: 'the pixels that it is given',
    loadImages: 'images; what was done to them is in `notes`',
    maskedConv2d: 'on arrays of the caller, of no model',
    maskedConv2dBackward: 'on arrays of the caller, of no model',
    openDevice: 'facts of the machine',
    presets: 'settings',
    selectImages: 'images',
    sliceImages: 'images',
    'PixelCNN.create': 'a model',
    'PixelCNN.load': 'a model',
    'model.weights': 'labels themselves',
    'model.values': 'labels themselves',
    'model.protocol': 'labels themselves',
    'model.classNames': 'labels themselves',
    'model.notes': 'sentences',
    'model.imageSize': 'a size',
    'model.dispose': 'nothing',
    'model.internals': 'not public',
  };
  const tested = [
    'PixelCNN',
    'evaluate',
    'train',
    'model.classify',
    ...['logits', 'logLikelihood', 'trace', 'sample', 'complete', 'sampleStream', 'save', 'parameters'].map(
      (name) => `model.${name}`,
    ),
  ];

  it('are all here', () => {
    const own = (object: object) => Object.getOwnPropertyNames(object);
    const builtIn = ['length', 'name', 'prototype', 'constructor'];
    const functions = [
      ...Object.keys(api),
      ...own(PixelCNN).map((name) => `PixelCNN.${name}`),
      ...own(PixelCNN.prototype).map((name) => `model.${name}`),
    ].filter((name) => !builtIn.includes(name.split('.').at(-1)!));
    expect(functions.sort()).toEqual([...Object.keys(withoutNumbers), ...tested].sort());
  });

  const images: ImageBatch = randomImages(new TestRandom(1), 20, 8, 8, 1);
  const known = new Uint8Array(20 * 64).fill(1, 0, 9);
  const config = { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 };
  const hex = ({ data }: { data: Uint8Array | Float32Array }) => Buffer.from(data.buffer).toString('hex');
  /** What each call tells of a model, as a text, and the weights that it names where it has room for a name. */
  const calls = (weights?: api.Weights) => {
    const chosen = { ...(weights && { weights }) };
    const draw = { count: 16, height: 8, width: 8, seed: 1, ...chosen };
    const last = async (frames: AsyncGenerator<api.SampleFrame, api.SampledImages>) => {
      for (let next = await frames.next(); ; next = await frames.next()) if (next.done) return next.value;
    };
    type Told = Promise<[value: string, weights?: api.Weights | undefined]>;
    const table: Record<string, (model: PixelCNN) => Told> = {
      evaluate: async (model) => {
        const result = await evaluate(model, images, chosen);
        expect(faultsOf(result, ['weights', 'protocol', 'images'], 64)).toEqual([]);
        return [String(result.nats), result.weights];
      },
      'model.logits': async (model) => {
        const result = await model.logits(images, chosen);
        return [hex(result), result.weights];
      },
      'model.logLikelihood': async (model) => {
        const result = await model.logLikelihood(images, chosen);
        expect(faultsOf(result, ['weights'], 64)).toEqual([]);
        return [result.nats.join(), result.weights];
      },
      'model.sample': async (model) => {
        const result = await model.sample(draw);
        return [hex(result), result.weights];
      },
      'model.sampleStream': async (model) => {
        const result = await last(model.sampleStream(draw));
        return [hex(result), result.weights];
      },
      'model.complete': async (model) => {
        const result = await model.complete({ images, known, seed: 1, ...chosen });
        return [hex(result), result.weights];
      },
      'model.parameters': async (model) => [hex((await model.parameters(weights)).get('net.0.weight')!)],
      'model.save': async (model) => {
        await model.save(path('saved.safetensors'), chosen);
        await using saved = await PixelCNN.load(device(), path('saved.safetensors'));
        const [held, ...rest] = saved.weights;
        expect(rest).toEqual([]);
        return [hex((await saved.parameters()).get('net.0.weight')!), held];
      },
    };
    return table;
  };

  it('tell the number of the weights that they name, and name those that were asked for', async () => {
    await using both = await PixelCNN.create(device(), config);
    await train(both, images, { steps: 12, batchSize: 4, learningRate: 0.05, emaDecay: 0.5 });
    const alone = new Map<api.Weights, PixelCNN>();
    for (const weights of ['raw', 'ema'] as const) {
      const file = path(`${weights}.safetensors`);
      await both.save(file, { weights });
      alone.set(weights, await PixelCNN.load(device(), file));
    }
    for (const [name, call] of Object.entries(calls())) {
      const values = new Set<string>();
      for (const [weights, model] of alone) {
        const [value, label = weights] = await call(model);
        expect([name, label]).toEqual([name, weights]);
        values.add(value);
        const [asked, named = weights] = await calls(weights)[name]!(both);
        expect([name, named, asked === value]).toEqual([name, weights, true]);
        if (weights === 'ema') expect([name, (await call(both))[0] === value]).toEqual([name, true]);
        const other = weights === 'raw' ? 'ema' : 'raw';
        await expect(calls(other)[name]!(model), name).rejects.toMatchObject({ code: 'ERR_NO_SUCH_WEIGHTS' });
      }
      expect([name, values.size], 'the two sets of weights give two values').toEqual([name, 2]);
    }
    // Times and shapes of ops, of the weights that were asked for.
    await expect(alone.get('raw')!.trace(images, { weights: 'ema' })).rejects.toThrow(/'raw' weights only/);
    for (const model of alone.values()) await model.dispose();
  });

  it('classify tells the weights and the protocol of its probabilities', async () => {
    await using both = await PixelCNN.create(device(), { ...config, condition: { classes: 2 } });
    const labelled = { ...images, labels: Uint8Array.from({ length: 20 }, (_, i) => i % 2) };
    await train(both, labelled, { steps: 12, batchSize: 4, learningRate: 0.05, emaDecay: 0.5 });
    const told = new Map<string, string>();
    for (const weights of ['raw', 'ema'] as const) {
      const result = await both.classify(images, { weights });
      expect(result).toMatchObject({ weights, protocol: 'levels', classes: 2 });
      told.set(weights, result.logProbabilities.join());
    }
    expect(told.get('raw')).not.toBe(told.get('ema'));
    const byDefault = await both.classify(images);
    expect([byDefault.weights, byDefault.logProbabilities.join()]).toEqual(['ema', told.get('ema')]);
  });

  it.each([0, 0.5])(
    'train: every loss has weights, split and protocol, and is theirs (EMA %d)',
    async (emaDecay) => {
      await using model = await PixelCNN.create(device(), config);
      const settings = { seed: 3, validation: 0.25 };
      const running = train(model, images, {
        epochs: 2,
        batchSize: 4,
        learningRate: 0.02,
        emaDecay,
        ...settings,
      });
      const events: TrainEvent[] = [];
      for await (const event of running) events.push(event);
      const summary = await running;
      expect(faultsOf([...events, summary], ['weights', 'split', 'protocol'], 64)).toEqual([]);

      const weights = emaDecay > 0 ? 'ema' : 'raw';
      const held = selectImages(images, splitIndices(20, 0.25, 3).validation);
      const { nats } = await evaluate(model, held);
      const labels = { nats, weights, split: 'validation', protocol: 'levels', images: 5 };
      expect(events.filter(({ type }) => type === 'validation').at(-1)).toMatchObject(labels);
      expect(summary.validation).toMatchObject(labels);
      const steps = events.filter((event) => event.type === 'step').slice(-4);
      const ofEpoch = steps.reduce((sum, step, i) => sum + step.nats * [4, 4, 4, 3][i]!, 0) / 15;
      expect(summary).toMatchObject({ lossOf: 'epoch', weights: 'raw', split: 'train', protocol: 'levels' });
      expect(summary.nats).toBeCloseTo(ofEpoch, 9);
    },
  );
});

describe('the commands', () => {
  const dimensions = 28 * 28;
  const lineOf = async (args: readonly string[]) => {
    const { code, stdout, stderr } = await run([...args, '--json']);
    expect([code, stderr]).toEqual([0, '']);
    return jsonLines(stdout) as unknown as Record<string, unknown>[];
  };
  let lines: Record<string, unknown>[];
  beforeAll(async () => {
    const data = ['train', '--data', 'mnist', '--limit', '60', '--validation', '0.2', '--test', 'mnist:test'];
    const length = ['--test-limit', '40', '--epochs', '2', '--batch-size', '8', '--samples', '2'];
    const average = ['--ema-decay', '0.5', '--learning-rate', '0.02', '--out', 'run'];
    lines = await lineOf([...data, ...length, ...average, ...tiny]);
  }, 60_000);

  it('are all here', async () => {
    const { stdout } = await run(['--help']);
    const [, list] = /Commands\n([\s\S]*?)\n\n/.exec(stdout)!;
    const names = list!.split('\n').map((line) => line.trim().split(' ')[0]);
    const others = { doctor: 'facts of the machine', bench: 'times of a new model', build: 'nothing' };
    const here = ['train', 'sample', 'complete', 'evaluate', 'classify', 'inspect', ...Object.keys(others)];
    expect(names.sort()).toEqual(here.sort());
  });

  it('train: every line, metrics.jsonl and summary.json say weights and protocol, and split or data', () => {
    const metrics = jsonLines(readFileSync(path('run', 'metrics.jsonl'), 'utf8'));
    const summary = JSON.parse(readFileSync(path('run', 'summary.json'), 'utf8')) as Record<string, unknown>;
    const { test, ...rest } = summary;
    expect(
      faultsOf(
        [...lines.filter(({ type }) => type !== 'summary'), ...metrics, rest],
        ['weights', 'protocol', 'split'],
        dimensions,
      ),
    ).toEqual([]);
    expect(faultsOf(test, ['weights', 'protocol', 'data', 'images', 'of'], dimensions)).toEqual([]);
    expect(lines.filter(({ type }) => type === 'step')).toHaveLength(12);
    expect(metrics.filter((line) => 'nats' in line).length).toBeGreaterThan(14);
  });

  it('evaluate: the number of the test in the summary, and of each file, under its name', async () => {
    const { test } = JSON.parse(readFileSync(path('run', 'summary.json'), 'utf8')) as {
      test: { nats: number; weights: string };
    };
    const results: Record<string, number> = {};
    for (const [model, asked, weights] of [
      ['run', [], 'ema'],
      ['run', ['--weights', 'raw'], 'raw'],
      ['run/model.safetensors', [], 'raw'],
      ['run/model-ema.safetensors', [], 'ema'],
      ['run/checkpoints/best.safetensors', [], 'ema'],
    ] as const) {
      const [result] = await lineOf(['evaluate', model, '--data', 'mnist:test', '--limit', '40', ...asked]);
      expect(faultsOf(result, ['weights', 'protocol', 'data', 'model', 'images'], dimensions)).toEqual([]);
      expect(result).toMatchObject({ weights, data: 'mnist:test', images: 40 });
      results[`${model} ${weights}`] = result!.nats as number;
    }
    expect(test).toMatchObject({ nats: results['run ema'], weights: 'ema' });
    expect(results['run/model-ema.safetensors ema']).toBe(results['run ema']);
    expect(results['run/model.safetensors raw']).toBe(results['run raw']);
    expect(results['run raw']).not.toBe(results['run ema']);
    await using model = await PixelCNN.load(device(), path('run', 'model-ema.safetensors'));
    const own = await evaluate(model, await loadImages({ name: 'mnist', split: 'test', limit: 40 }));
    expect(own.nats).toBe(test.nats);
  });

  it('sample, complete, inspect: which file, weights and seed', async () => {
    const [drawn] = await lineOf(['sample', 'run', '--count', '1', '--seed', '7', '--out', 's.png']);
    const ema = { weights: 'ema', model: 'run/model-ema.safetensors', seed: 7 };
    expect(drawn).toMatchObject(ema);
    const [completed] = await lineOf([
      'complete',
      'run',
      '--images',
      'mnist',
      '--count',
      '1',
      '--completions',
      '1',
      '--seed',
      '7',
      '--out',
      'c.png',
    ]);
    expect(completed).toMatchObject(ema);
    for (const [file, weights] of [
      ['model', ['raw']],
      ['model-ema', ['ema']],
      ['checkpoints/best', ['raw', 'ema']],
    ] as const) {
      const [found] = await lineOf(['inspect', `run/${file}.safetensors`]);
      expect(found).toMatchObject({ weights });
    }
    const raw = await lineOf([
      'sample',
      'run',
      '--count',
      '1',
      '--seed',
      '7',
      '--weights',
      'raw',
      '--out',
      'r.png',
    ]);
    expect(raw[0]).toMatchObject({ weights: 'raw', model: 'run/model.safetensors' });
    expect(readFileSync(path('r.png')).equals(readFileSync(path('s.png')))).toBe(false);
  });
});
