// Tests which conditions calls accept, and that a wrong one is refused by a sentence that names both sides.
import { describe, expect, it } from 'vitest';
import type { ImageBatch } from '../../src/data/image-batch.js';
import type { PixelCnnError } from '../../src/errors.js';
import type { PixelCNN } from '../../src/pixelcnn.js';
import type { SampleOptions } from '../../src/sample/options.js';
import { evaluate } from '../../src/train/evaluate.js';
import { train } from '../../src/train/trainer.js';
import { randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const device = testDevice();
const small = { hiddenChannels: 4, layers: 3, kernelSize: 3, levels: 4 };
const size = { height: 4, width: 5 };
const images: ImageBatch = { ...randomImages(new TestRandom(1), 3, 4, 5, 1), labels: Uint8Array.of(0, 2, 1) };
const pets = ['cat', 'dog', 'bird'];

type Condition = Parameters<typeof randomModel>[1]['condition'];

async function modelOf(condition: Condition, names?: readonly string[]): Promise<PixelCNN> {
  const model = await randomModel(device(), { ...small, ...(condition && { condition }) }, 2);
  model.internals().classNames = names;
  return model;
}

/** The error of a call, as `CODE message (remedy)`. */
async function refusal(call: () => Promise<unknown>): Promise<string> {
  try {
    await call();
  } catch (error) {
    const { code, message, remedy } = error as PixelCnnError;
    return `${code} ${message} (${remedy ?? ''})`;
  }
  return 'worked';
}

const sample = (model: PixelCNN, options: SampleOptions) =>
  refusal(() => model.sample({ ...size, ...options }));

describe('a class', () => {
  it('is a number or a name, one for all images or one for each', async () => {
    const model = await modelOf({ classes: 3 }, pets);
    const draw = (options: SampleOptions) => model.sample({ ...size, seed: 1, ...options });
    const dogs = await draw({ labels: 1, count: 2 });
    expect([...dogs.labels!]).toEqual([1, 1]);
    expect(dogs.classNames).toEqual(pets);
    expect((await draw({ labels: 'dog', count: 2 })).data).toEqual(dogs.data);
    expect((await draw({ labels: '1', count: 2 })).data).toEqual(dogs.data);
    const mixed = await draw({ labels: ['bird', 0, 'dog'] });
    expect([mixed.count, ...mixed.labels!]).toEqual([3, 2, 0, 1]);
    expect((await draw({ labels: Uint16Array.of(2, 0, 1) })).data).toEqual(mixed.data);
  });

  it('is found by its name before its number', async () => {
    const model = await modelOf({ classes: 3 }, ['2', '007', 'none']);
    const labels = (await model.sample({ ...size, labels: ['2', '007', 'none', '1'] })).labels!;
    expect([...labels]).toEqual([0, 1, 2, 1]);
    // A class may be called none, and is then meant.
    expect([...(await model.sample({ ...size, labels: 'none' })).labels!]).toEqual([2]);
  });

  it('that does not exist is refused', async () => {
    const model = await modelOf({ classes: 3 }, pets);
    expect(await sample(model, { labels: 3 })).toMatch(
      /^ERR_OUT_OF_RANGE sample: labels: the classes of the model are 0 to 2 \('cat', 'dog', 'bird'\), got 3/,
    );
    for (const label of [-1, 1.5, Number.NaN, '3', '-1'])
      expect(await sample(model, { labels: label })).toMatch(
        /^ERR_(OUT_OF_RANGE|CLASS_NAME) sample: labels: /,
      );
    expect(await sample(model, { labels: ['cat', 'dig'] })).toMatch(
      /^ERR_CLASS_NAME sample: labels: the model has no class 'dig' \(did you mean 'dog'\?\); its classes are 'cat', 'dog', 'bird'/,
    );
    const nameless = await modelOf({ classes: 3 });
    expect(await sample(nameless, { labels: 'cat' })).toMatch(
      /^ERR_CLASS_NAME sample: labels: the model does not know the names of its 3 classes, got 'cat' \(give a number, 0 to 2\)/,
    );
  });

  it('of images is matched by name where both know names', async () => {
    const model = await modelOf({ classes: 3 }, pets);
    const own = { ...images, classNames: pets };
    // The same images from a folder that lacks cats, so that dogs are 0 there; and by other numbers.
    const other = { ...images, labels: Uint8Array.of(1, 0, 2), classNames: ['bird', 'cat', 'dog'] };
    const { nats } = await model.logLikelihood(own);
    expect((await model.logLikelihood(other)).nats).toEqual(nats);
    const strange = { ...images, classNames: ['cat', 'fox', 'bird'] };
    expect(await refusal(() => model.logLikelihood(strange))).toMatch(
      /^ERR_CLASS_NAME logLikelihood: images.labels: images are of the class 'fox', .* 'cat', 'dog', 'bird' \(rename/,
    );
    // A name is no number: 1 of these images is not class 1 of the model.
    const numbered = { ...images, classNames: ['cat', '1', 'bird'] };
    expect(await refusal(() => model.logLikelihood(numbered))).toMatch(/^ERR_CLASS_NAME .* of the class '1'/);
  });
});

describe('a condition', () => {
  it('must be there for a model that has one', async () => {
    const model = await modelOf({ classes: 3 });
    const without = { ...images, labels: undefined } as unknown as ImageBatch;
    const known = new Uint8Array(60);
    const missing = 'the model is given 3 classes, but';
    expect(await sample(model, {})).toContain(`ERR_CONDITION sample: ${missing} no \`labels\` were passed`);
    const calls: Record<string, () => Promise<unknown>> = {
      logits: () => model.logits(without),
      logLikelihood: () => model.logLikelihood(without),
      trace: () => model.trace(without),
      evaluate: () => evaluate(model, without),
      complete: () => model.complete({ images: without, known }),
      train: async () => train(model, without),
    };
    for (const [name, call] of Object.entries(calls))
      expect(await refusal(call)).toContain(
        `ERR_CONDITION ${name}: ${missing} the images have no \`labels\``,
      );
    expect(await refusal(async () => model.sampleStream(size).next())).toContain(
      'ERR_CONDITION sampleStream: ',
    );
  });

  it('is refused as an option by a model without one, which ignores what images bring', async () => {
    const model = await modelOf(undefined);
    const plain = { ...images, labels: undefined } as unknown as ImageBatch;
    expect((await model.logLikelihood(images)).nats).toEqual((await model.logLikelihood(plain)).nats);
    const refused = 'the model has no condition, but `labels` was passed';
    expect(await sample(model, { labels: 1 })).toContain(`ERR_CONDITION sample: ${refused}`);
    expect(await refusal(() => model.complete({ images, known: new Uint8Array(60), labels: 1 }))).toContain(
      refused,
    );
    expect(await refusal(() => model.logLikelihood(images, { labels: 1 }))).toContain(refused);
    expect(await sample(model, { guidance: 2 })).toMatch(
      /^ERR_CONDITION sample: `guidance` 2 needs a model .* this one is given nothing/,
    );
    expect(await refusal(() => model.classify(images))).toMatch(/^ERR_CONDITION classify: .* no condition/);
  });

  it('of another kind or size is refused', async () => {
    const features = await modelOf({ features: 2 });
    expect(await sample(features, { labels: 1 })).toContain(
      'ERR_CONDITION sample: the model is given 2 features, but `labels` was passed (pass `features` instead)',
    );
    expect(await sample(features, { features: new Float32Array(3), count: 2 })).toContain(
      'ERR_BUFFER_SIZE sample: features must hold 2x2 = 4 values, got 3',
    );
    expect(await sample(features, { features: Float32Array.of(1, Number.NaN) })).toContain(
      'ERR_OUT_OF_RANGE sample: features must be finite, got NaN at 1',
    );
    expect((await features.sample({ ...size, features: new Float32Array(6) })).count).toBe(3);
    const map = await modelOf({ map: 2 });
    expect(await sample(map, { map: new Float32Array(20) })).toContain(
      'ERR_BUFFER_SIZE sample: map must hold 1x4x5x2 = 40 values, got 20',
    );
    const brought = { ...images, map: new Float32Array(3 * 20) };
    expect(await refusal(() => map.logLikelihood(brought))).toContain(
      'ERR_BUFFER_SIZE logLikelihood: images.map must hold 3x4x5x2 = 120 values, got 60',
    );
    const classes = await modelOf({ classes: 3 });
    expect(await sample(classes, { labels: [0, 1], count: 3 })).toContain(
      'ERR_BUFFER_SIZE sample: labels must hold a class for each of 3 images, got 2',
    );
    expect(await refusal(() => features.classify(images))).toMatch(/^ERR_CONDITION classify: .* features/);
  });

  it('may be none only in a model that has learnt to go without', async () => {
    const model = await modelOf({ classes: 3 });
    expect(await sample(model, { labels: 'none' })).toMatch(
      /^ERR_CONDITION sample: labels: the model is given 3 classes and has not learnt to go without, got 'none'/,
    );
    expect(await sample(model, { labels: 1, guidance: 2 })).toMatch(
      /^ERR_CONDITION sample: `guidance` 2 needs .* this one is given 3 classes/,
    );
    expect(await refusal(async () => train(model, images, { conditionDropout: 0.1 }))).toMatch(
      /^ERR_CONDITION train: `conditionDropout` 0.1 .* 3 classes, without `none`/,
    );
    const free = await modelOf({ classes: 3, none: true });
    const drawn = await free.sample({ ...size, count: 2, labels: 'none' });
    expect(drawn.labels).toBeUndefined();
    // The row of no class is no class.
    expect(await sample(free, { labels: 3 })).toMatch(/^ERR_OUT_OF_RANGE .*0 to 2, got 3/);
  });

  it('given as an option beats that of the images', async () => {
    const model = await modelOf({ classes: 3 });
    const ones = { ...images, labels: Uint8Array.of(1, 1, 1) };
    expect((await model.logLikelihood(images, { labels: 1 })).nats).toEqual(
      (await model.logLikelihood(ones)).nats,
    );
    expect((await evaluate(model, images, { labels: 1 })).nats).toBe((await evaluate(model, ones)).nats);
  });

  it('is copied: what the caller writes to it later has no effect', async () => {
    const model = await modelOf({ classes: 3 });
    const labels = Uint8Array.of(0, 1, 2);
    const before = (await model.logLikelihood({ ...images, labels })).nats;
    const call = model.logLikelihood({ ...images, labels });
    labels.fill(0);
    expect((await call).nats).toEqual(before);
  });
});

it('evaluate says what the likelihood is given, and the mean of each class', async () => {
  const model = await modelOf({ classes: 4, none: true }, [...pets, 'fish']);
  const result = await evaluate(model, { ...images, labels: Uint8Array.of(2, 0, 2) });
  const { nats } = await model.logLikelihood({ ...images, labels: Uint8Array.of(2, 0, 2) });
  expect(result.given).toBe('labels');
  expect(result.perClass!.map(({ label, name, images: count }) => [label, name, count])).toEqual([
    [0, 'cat', 1],
    [2, 'bird', 2],
  ]);
  expect(result.perClass![1]!.nats).toBeCloseTo((nats[0]! + nats[2]!) / 2, 10);
  const free = await evaluate(model, images, { labels: 'none' });
  expect([free.given, free.perClass]).toEqual(['none', null]);
  const plain = await modelOf(undefined);
  const unconditional = await evaluate(plain, images);
  expect([unconditional.given, unconditional.perClass]).toEqual([null, null]);
});

describe('training', () => {
  it('takes the names of classes, and keeps them and the protocol in the file', async () => {
    const model = await modelOf({ classes: 3 });
    await train(model, { ...images, classNames: pets }, { steps: 1, batchSize: 3 });
    expect([model.classNames, model.protocol]).toEqual([pets, 'levels']);
    const more = { ...images, classNames: [...pets, 'fish'] };
    const fresh = await modelOf({ classes: 3 });
    expect(await refusal(async () => train(fresh, more))).toMatch(
      /^ERR_CONDITION train: the images have 4 classes, and the model is given 3/,
    );
  });
});

describe('names of classes', () => {
  const named = (names: string[]) => ({ ...images, classNames: names });

  it('that repeat are refused, as are those that no file could hold', async () => {
    const model = await modelOf({ classes: 3 });
    expect(await refusal(async () => train(model, named(['cat', 'dog', 'cat'])))).toMatch(
      /^ERR_INVALID_ARG_VALUE train: dataset.classNames has the name 'cat' twice/,
    );
    expect(await refusal(async () => train(model, named(['cat', '\ud800', 'dog'])))).toMatch(
      /^ERR_INVALID_ARG_VALUE train: dataset.classNames: .*lone surrogate/,
    );
    const long = ['x', 'y', 'z'].map((letter) => letter.repeat(2 ** 21));
    expect(await refusal(async () => train(model, named(long)))).toMatch(
      /^ERR_LIMIT train: dataset.classNames/,
    );
  });

  it('stand for no class only where there is one called so', async () => {
    const model = await modelOf({ classes: 3, none: true });
    expect(await refusal(async () => train(model, named(['cat', 'none', 'dog'])))).toMatch(
      /^ERR_CONDITION train: the images have a class 'none'/,
    );
  });

  it('are a copy, and left out of samples where a label has none', async () => {
    const model = await modelOf({ classes: 3 }, ['cat', 'dog']);
    model.classNames![0] = 'fox';
    expect(model.classNames).toEqual(['cat', 'dog']);
    const drawn = await model.sample({ ...size, labels: [2, 0] });
    expect(drawn.classNames).toBeUndefined();
    expect((await evaluate(model, drawn)).images).toBe(2);
    expect((await model.sample({ ...size, labels: [1, 0] })).classNames).toEqual(['cat', 'dog']);
  });
});

it('a frame of a stream has its own copy of the condition', async () => {
  const model = await modelOf({ features: 2 });
  const features = Float32Array.of(1, -1, 2, 0);
  const whole = await model.sample({ ...size, seed: 1, features });
  const stream = model.sampleStream({ ...size, seed: 1, features, stepsPerFrame: 3 });
  let next = await stream.next();
  for (; !next.done; next = await stream.next()) {
    const { buffer } = next.value.images.features!;
    structuredClone(buffer, { transfer: [buffer] });
  }
  expect(next.value.data).toEqual(whole.data);
  expect(next.value.features).toEqual(features);
});

it('samples of a run with maps have the maps of images of their size', async () => {
  const model = await modelOf({ map: 1 });
  const mapped = (count: number, height: number, width: number) => ({
    ...randomImages(new TestRandom(count), count, height, width, 1),
    map: new TestRandom(9).normals(count * height * width),
  });
  const dataset = mapped(4, 4, 5);
  const seen: ImageBatch[] = [];
  const options = { epochs: 1, batchSize: 2, samples: 2, validation: mapped(2, 5, 4) };
  for await (const event of train(model, dataset, options))
    if (event.type === 'sample') seen.push(event.images);
  expect(seen[0]!.map).toEqual(dataset.map.slice(0, 2 * 20));
});

describe('classify', () => {
  it('computes p(class | x) from the likelihoods under every class', async () => {
    const model = await modelOf({ classes: 3, none: true }, pets);
    const { logProbabilities, labels, classNames, classes } = await model.classify(images);
    expect([classes, classNames]).toEqual([3, pets]);
    const nats = await Promise.all(
      [0, 1, 2].map(async (label) => (await model.logLikelihood(images, { labels: label })).nats),
    );
    for (let n = 0; n < 3; n += 1) {
      const joint = nats.map((of) => Math.exp(-of[n]!));
      const sum = joint.reduce((total, value) => total + value, 0);
      const expected = joint.map((value) => Math.log(value / sum));
      for (const [label, value] of expected.entries())
        expect(logProbabilities[n * 3 + label]).toBeCloseTo(value, 6);
      expect(labels[n]).toBe(expected.indexOf(Math.max(...expected)));
    }
  });

  it('gives binary models images as they were trained, or asks how', async () => {
    const model = await randomModel(device(), { ...small, levels: 2, condition: { classes: 3 } }, 2);
    expect(await refusal(() => model.classify(images))).toMatch(
      /^ERR_INVALID_ARG_VALUE classify: the model has 2 levels and does not say .* pass `protocol`/,
    );
    const threshold = await model.classify(images, { protocol: 'threshold' });
    const dynamic = await model.classify(images, { protocol: 'dynamic', seed: 3 });
    expect([threshold.protocol, dynamic.protocol]).toEqual(['threshold', 'dynamic']);
    expect(dynamic.logProbabilities).not.toEqual(threshold.logProbabilities);
    model.internals().protocol = 'dynamic';
    expect((await model.classify(images, { seed: 3 })).logProbabilities).toEqual(dynamic.logProbabilities);
  });

  it('counts a pass over every image for each class against the limits', async () => {
    const model = await modelOf({ classes: 3 });
    const { limits } = device().calls;
    const pixels = (limits.maxPixels / 3 + 20) | 0;
    const many = {
      ...images,
      count: Math.ceil(pixels / 20),
      data: new Uint8Array(Math.ceil(pixels / 20) * 20),
    };
    const { labels: _, ...unlabelled } = many;
    expect(await refusal(() => model.classify({ ...unlabelled, values: 'bytes' }))).toMatch(
      /^ERR_LIMIT classify: .*3 times, .* pixels: the device takes at most/,
    );
  });
});
