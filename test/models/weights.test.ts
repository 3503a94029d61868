// Tests that every result says which weights it is of and is of those, and that a set the model does not hold is
// refused.
import { describe, expect, it } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
import { encodeSafetensors, parseSafetensors } from '../../src/checkpoint/safetensors.js';
import { evaluate, openDevice, PixelCNN, train, type Weights } from '../../src/index.js';
import { networkOf } from '../../src/models/architectures.js';
import { initialParameters } from '../../src/models/initial-values.js';
import { parseConfig } from '../../src/models/parse-config.js';
import { randomImages, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const device = testDevice();
const folder = temporaryFolder('weights');
const config = parseConfig('test', { hiddenChannels: 6, layers: 3, levels: 4, kernelSize: 3 });
const images = randomImages(new TestRandom(3), 5, 6, 7, 1);
const values = {
  raw: await initialParameters(networkOf(config).parameters, 1),
  ema: await initialParameters(networkOf(config).parameters, 2),
};
const about = { config, imageSize: { height: 6, width: 7 } };

const files = {
  raw: encodeModel({ ...about, weights: 'raw', parameters: values.raw }),
  ema: encodeModel({ ...about, weights: 'ema', parameters: values.ema }),
  both: encodeModel({ ...about, weights: 'raw', parameters: values.raw, average: values.ema }),
};
/** The file as a release wrote it that did not record the weights. */
function withoutRecord(file: Uint8Array): Uint8Array {
  const { metadata, tensors } = parseSafetensors(file.slice());
  delete metadata['pixelcnn.weights'];
  return encodeSafetensors(tensors, metadata, { checksum: true });
}
const stateDict = encodeSafetensors(parseSafetensors(files.raw.slice()).tensors);

const sources: [name: string, bytes: Uint8Array, held: readonly Weights[]][] = [
  ['a file of raw weights', files.raw, ['raw']],
  ['a file of the average', files.ema, ['ema']],
  ['a checkpoint with both', files.both, ['raw', 'ema']],
  ['a file that does not say', withoutRecord(files.raw), ['raw']],
  ['a checkpoint that does not say', withoutRecord(files.both), ['raw', 'ema']],
  ['a state dict', stateDict, ['raw']],
];

/** What a call gave, as text, and the weights that it says it is of. */
interface Answer {
  readonly value: string;
  readonly weights: Weights;
}
const text = (numbers: Iterable<number>) => [...numbers].join();
const known = new Uint8Array(5 * 42);
const size = { height: 6, width: 7, count: 3, seed: 5 };
const draw = (drawn: { data: Iterable<number>; weights: Weights }): Answer => {
  return { value: text(drawn.data), weights: drawn.weights };
};

/** Every call that takes weights. */
const calls: Record<string, (model: PixelCNN, options: { weights?: Weights }) => Promise<Answer>> = {
  logits: async (model, options) => draw(await model.logits(images, options)),
  logLikelihood: async (model, options) => {
    const { nats, bitsPerDim, weights } = await model.logLikelihood(images, options);
    return { value: text([...nats, ...bitsPerDim]), weights };
  },
  evaluate: async (model, options) => {
    const { nats, bitsPerDim, weights } = await evaluate(model, images, options);
    return { value: text([nats, bitsPerDim]), weights };
  },
  sample: async (model, options) => draw(await model.sample({ ...size, ...options })),
  sampleStream: async (model, options) => {
    const frames = model.sampleStream({ ...size, ...options });
    for (;;) {
      const { done, value } = await frames.next();
      if (done) return draw(value);
    }
  },
  'frames of sampleStream': async (model, options) => {
    const answers: Answer[] = [];
    for await (const frame of model.sampleStream({ ...size, ...options })) answers.push(draw(frame.images));
    return { value: answers.map(({ value }) => value).join(';'), weights: answers.at(-1)!.weights };
  },
  complete: async (model, options) => draw(await model.complete({ images, known, seed: 5, ...options })),
  save: async (model, options) => {
    const path = `${folder}/saved.safetensors`;
    await model.save(path, options);
    await using saved = await PixelCNN.load(device(), path);
    expect(saved.weights).toHaveLength(1);
    return { value: await unlabelled.parameters!(saved, undefined), weights: saved.weights[0]! };
  },
};
/** Calls whose answer has no room for a label; they are asked for weights, or take the default. */
const unlabelled: Record<string, (model: PixelCNN, weights: Weights | undefined) => Promise<string>> = {
  parameters: async (model, weights) =>
    [...(await model.parameters(weights)).values()].map(({ data }) => text(data)).join(';'),
};

/** What each call gives with a model that holds nothing but these weights. */
async function alone(weights: Weights): Promise<Record<string, string>> {
  await using model = await PixelCNN.load(device(), files[weights]);
  const answers: Record<string, string> = {};
  for (const [name, call] of Object.entries(calls)) answers[name] = (await call(model, {})).value;
  for (const [name, call] of Object.entries(unlabelled)) answers[name] = await call(model, undefined);
  return answers;
}

/** The weights that gave this value, found by the value alone. */
function weightsOf(name: string, value: string, both: Record<Weights, Record<string, string>>): Weights {
  const found = (['raw', 'ema'] as const).filter((weights) => both[weights][name] === value);
  if (found.length !== 1) throw new Error(`${name}: the value is of ${found.length} sets of weights`);
  return found[0]!;
}

const refusal = (asked: Weights, held: readonly Weights[]) => ({
  name: 'PixelCnnError',
  code: 'ERR_NO_SUCH_WEIGHTS',
  message: expect.stringMatching(new RegExp(`weights '${asked}' .* holds '${held[0]}' weights only`)),
  remedy: expect.stringContaining(asked === 'ema' ? 'model-ema.safetensors' : 'model.safetensors'),
});

describe('a model of', () => {
  it.each(sources)('%s: every number is of the weights under it', async (_, bytes, held) => {
    const both = { raw: await alone('raw'), ema: await alone('ema') };
    await using model = await PixelCNN.load(device(), bytes);
    expect(model.weights).toEqual(held);
    for (const asked of [undefined, 'raw', 'ema'] as const) {
      const expected = asked ?? (held.includes('ema') ? 'ema' : 'raw');
      const options = asked === undefined ? {} : { weights: asked };
      for (const [name, call] of Object.entries(calls)) {
        const answer = call(model, options);
        if (!held.includes(expected)) {
          await expect(answer, name).rejects.toMatchObject(refusal(expected, held));
          continue;
        }
        const { value, weights } = await answer;
        expect([name, weights, weightsOf(name, value, both)]).toEqual([name, expected, expected]);
      }
      for (const [name, call] of Object.entries(unlabelled)) {
        const answer = call(model, asked);
        if (held.includes(expected)) expect(weightsOf(name, await answer, both)).toBe(expected);
        else await expect(answer, name).rejects.toMatchObject(refusal(expected, held));
      }
      const trace = model.trace(images, options);
      if (held.includes(expected)) expect((await trace).length).toBeGreaterThan(0);
      else await expect(trace).rejects.toMatchObject(refusal(expected, held));
    }
  });

  it('these tests would show a wrong label and a wrong value', async () => {
    const both = { raw: await alone('raw'), ema: await alone('ema') };
    for (const name of [...Object.keys(calls), ...Object.keys(unlabelled)]) {
      expect(weightsOf(name, both.raw[name]!, both), name).toBe('raw');
      expect(weightsOf(name, both.ema[name]!, both), name).toBe('ema');
      expect(() => weightsOf(name, `${both.raw[name]}0`, both)).toThrow('0 sets');
    }
    // As before files recorded their weights: a file of the average that passes for one of raw weights.
    await using model = await PixelCNN.load(device(), withoutRecord(files.ema));
    const { value, weights } = await calls.evaluate!(model, {});
    expect([weights, weightsOf('evaluate', value, both)]).toEqual(['raw', 'ema']);
  });
});

describe('a new model', () => {
  it('holds raw weights', async () => {
    await using model = await PixelCNN.create(device(), config);
    expect(model.weights).toEqual(['raw']);
    await expect(model.sample({ ...size, weights: 'ema' })).rejects.toMatchObject(refusal('ema', ['raw']));
  });
});

describe('after training, a model', () => {
  const parametersOf = async (model: PixelCNN, weights?: Weights) => unlabelled.parameters!(model, weights);
  const options = { steps: 3, batchSize: 2, learningRate: 0.01 };

  it.each([
    ['a new one', undefined],
    ['one with raw weights', files.raw],
    ['one with the average alone', files.ema],
    ['one with both', files.both],
  ])('holds raw weights, and the average of a run that keeps one: %s', async (_, bytes) => {
    const load = () =>
      bytes === undefined ? PixelCNN.create(device(), config) : PixelCNN.load(device(), bytes);
    await using plain = await load();
    await train(plain, images, options);
    expect(plain.weights).toEqual(['raw']);
    await expect(parametersOf(plain, 'ema')).rejects.toMatchObject(refusal('ema', ['raw']));

    await using averaged = await load();
    await train(averaged, images, { ...options, emaDecay: 0.9 });
    expect(averaged.weights).toEqual(['raw', 'ema']);
    // The average does not change how the raw weights learn.
    expect(await parametersOf(averaged, 'raw')).toBe(await parametersOf(plain));
    expect(await parametersOf(averaged, 'ema')).not.toBe(await parametersOf(plain));
    expect(await parametersOf(averaged)).toBe(await parametersOf(averaged, 'ema'));
  });

  it('of the average alone has learned from it on', async () => {
    await using fromAverage = await PixelCNN.load(device(), files.ema);
    await using fromRaw = await PixelCNN.load(device(), withoutRecord(files.ema));
    expect([fromAverage.weights, fromRaw.weights]).toEqual([['ema'], ['raw']]);
    for (const model of [fromAverage, fromRaw]) await train(model, images, { ...options, emaDecay: 0.5 });
    for (const weights of ['raw', 'ema'] as const)
      expect(await parametersOf(fromAverage, weights)).toBe(await parametersOf(fromRaw, weights));
  });

  it('that began a run holds what it held until the first step', async () => {
    await using model = await PixelCNN.load(device(), files.ema);
    const run = train(model, images, options);
    expect(model.weights).toEqual(['ema']);
    await run;
    expect(model.weights).toEqual(['raw']);
  });

  it('that began a run during a call ends the call with its average first; a stream refuses to go on', async () => {
    // On the CPU these are 82 runs, between which the steps would come.
    await using cpu = await openDevice({ backend: 'cpu' });
    const many = randomImages(new TestRandom(4), 4000, 16, 16, 1);
    await using model = await PixelCNN.load(cpu, files.ema);
    const before = await evaluate(model, many);
    const whileTraining = evaluate(model, many);
    const drawing = model.sampleStream({ ...size, stepsPerFrame: 1 });
    await drawing.next();
    await train(model, images, options);
    expect(await whileTraining).toEqual(before);
    await expect(drawing.next()).rejects.toMatchObject({ code: 'ERR_MODEL_IN_USE' });
    expect((await evaluate(model, many)).weights).toBe('raw');
  });
});
