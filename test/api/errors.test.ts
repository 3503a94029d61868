// Tests that a bad argument of any function, in TypeScript or on the raw addon, fails with a code and names its
// value.
import { describe, expect, it } from 'vitest';
import { openDevice } from '../../src/device/device.js';
import { PixelCnnError } from '../../src/errors.js';
import { maskedConv2d } from '../../src/functional.js';
import * as api from '../../src/index.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { runChild } from '../helpers/child.js';
import { randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { type Call, publicCalls } from './api-arguments.js';
import { badValues } from './bad-values.js';

const device = testDevice();
const options = { hiddenChannels: 6, layers: 3, levels: 4, kernelSize: 3 };

/** What is wrong with how a call failed, or undefined. */
async function complaint(call: Call, value: unknown): Promise<string | undefined> {
  const what = `${call.name} = ${describeValue(value)}`;
  try {
    const result = await call.invoke(value);
    if (result instanceof api.PixelCNN) await result.dispose();
    return `${what} worked`;
  } catch (error) {
    if (!(error instanceof Error)) return `${what} threw ${String(error)}`;
    const { code } = error as Error & { code?: unknown };
    if (typeof code !== 'string' || code === '') return `${what}: no code: ${error.stack?.slice(0, 300)}`;
    if (error.message.length < 10) return `${what}: message '${error.message}'`;
    const key = call.name.split(' ').at(-1)!;
    // A shape is wrong for the array that it describes.
    if (key === 'inputShape' && error.message.includes('input')) return undefined;
    const named = error.message.toLowerCase().includes(key.toLowerCase());
    const isSystem = /^(E[A-Z]+$|CKPT_|PNG_|IMAGE_|ERR_ILLEGAL_INVOCATION|ERR_DATASET_NOT_FOUND)/.test(code);
    if (!named && !isSystem && key !== 'options' && key !== 'source')
      return `${what}: ${code} does not name it: ${error.message}`;
    return undefined;
  }
}

function describeValue(value: unknown): string {
  try {
    if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength})`;
    return typeof value === 'object'
      ? (JSON.stringify(value) ?? 'object').slice(0, 80)
      : String(value).slice(0, 80);
  } catch {
    return typeof value;
  }
}

describe('bad arguments', () => {
  it('every one of the public API fails with a code and names the argument', async () => {
    const model = await randomModel(device(), options, 1);
    await using classifier = await api.PixelCNN.create(device(), { ...options, condition: { classes: 2 } });
    const calls = publicCalls(device(), model, classifier);
    const complaints: string[] = [];
    let count = 0;
    for (const call of calls) {
      const values = [...badValues[call.kind], ...(call.more ?? [])] as unknown[];
      for (const value of values) {
        if (call.allowed?.includes(value)) continue;
        count += 1;
        const wrong = await complaint(call, value);
        if (wrong !== undefined) complaints.push(wrong);
      }
    }
    console.info(`${count} bad calls of ${calls.length} arguments`);
    expect(complaints).toEqual([]);
    expect(count).toBeGreaterThan(2000);
    // After all of it the model works.
    expect((await model.sample({ height: 3, width: 3, seed: 1 })).data.length).toBe(9);
    await model.dispose();
  });

  it('none of the public functions is left out', async () => {
    const model = await randomModel(device(), options, 1);
    const calls = publicCalls(device(), model, model);
    const called = new Set(calls.map(({ name }) => name.split(' ')[0]));
    const functions = (owner: object) =>
      Object.getOwnPropertyNames(owner).filter((name) => {
        return typeof Object.getOwnPropertyDescriptor(owner, name)?.value === 'function';
      });
    const exported = functions({ ...api }).filter((name) => !/^[A-Z]/.test(name));
    const statics = functions(api.PixelCNN).map((name) => `PixelCNN.${name}`);
    const withoutArguments = ['constructor', 'dispose', 'internals'];
    const methods = functions(api.PixelCNN.prototype).filter((name) => !withoutArguments.includes(name));
    expect(exported.length + statics.length + methods.length).toBeGreaterThan(18);
    expect([...exported, ...statics, ...methods].filter((name) => !called.has(name))).toEqual([]);
    await model.dispose();
  });

  it('the checker catches a call that works and an error without a code', async () => {
    const call = (invoke: () => unknown): Call => ({ name: 'f x', kind: 'number', invoke });
    expect(
      await complaint(
        call(() => 1),
        1,
      ),
    ).toMatch(/worked/);
    expect(
      await complaint(
        call(() => Promise.reject(new TypeError('x is not a number'))),
        1,
      ),
    ).toMatch(/no code/);
    expect(
      await complaint(
        call(() => Promise.reject('text')),
        1,
      ),
    ).toMatch(/threw/);
    const nameless = new PixelCnnError('ERR_OUT_OF_RANGE', 'something was wrong');
    expect(
      await complaint(
        call(() => Promise.reject(nameless)),
        1,
      ),
    ).toMatch(/does not name/);
    const good = new PixelCnnError('ERR_OUT_OF_RANGE', 'f: x must be positive, got -1');
    expect(
      await complaint(
        call(() => Promise.reject(good)),
        -1,
      ),
    ).toBe(undefined);
  });

  it('every one of the raw addon fails with a code and never crashes', async () => {
    const child = await runChild('api/children/raw-addon.mjs');
    expect(child.signal, child.stderr).toBe(null);
    expect(child.stderr).toBe('');
    const { calls, codes, wrong } = JSON.parse(child.stdout) as {
      calls: number;
      codes: Record<string, number>;
      wrong: string[];
    };
    console.info(`${calls} raw calls`, codes);
    expect(wrong).toEqual([]);
    expect(calls).toBeGreaterThan(700);
    expect(child.code).toBe(0);
  });
});

describe('options', () => {
  it('are read once each: a getter cannot change its answer', async () => {
    let reads = 0;
    const tricky = {
      get hiddenChannels() {
        reads += 1;
        return reads === 1 ? 6 : -5;
      },
      layers: 3,
    };
    const model = await PixelCNN.create(device(), tricky);
    expect([reads, model.config.hiddenChannels]).toEqual([1, 6]);
    await model.dispose();
  });

  it('that throw when read are an error with a code and the cause', async () => {
    const cause = new Error('planted');
    const throwing = (key: string) =>
      Object.defineProperty({}, key, {
        enumerable: true,
        get: () => {
          throw cause;
        },
      });
    const model = await randomModel(device(), options, 1);
    for (const call of [
      () => openDevice(throwing('backend')),
      () => PixelCNN.create(device(), throwing('layers')),
      () => PixelCNN.create(device(), throwing('seed')),
      () => model.sample(throwing('count')),
      () => model.save('/no/such/folder/x', throwing('weights')),
    ]) {
      await expect(call()).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE', cause });
    }
    await model.dispose();
  });

  it('with a typo come with a suggestion', async () => {
    await expect(PixelCNN.create(device(), { hiddenChanels: 3 } as never)).rejects.toThrow(/hiddenChannels/);
    await expect(openDevice({ backnd: 'cpu' } as never)).rejects.toThrow(/'backend'/);
  });

  it('out of range in sum are refused with what they would need', async () => {
    const tooLarge = { hiddenChannels: 2048, layers: 128, kernelSize: 31 };
    await expect(PixelCNN.create(device(), tooLarge)).rejects.toMatchObject({ code: 'ERR_LIMIT' });
    const model = await randomModel(device(), options, 1);
    await expect(model.sample({ height: 4096, width: 4096 })).rejects.toMatchObject({ code: 'ERR_LIMIT' });
    await expect(model.sample({})).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
    const images = { data: new Uint8Array(2 ** 26), count: 1, height: 2 ** 13, width: 2 ** 13, channels: 1 };
    const wide = await PixelCNN.create(device(), { ...options, levels: 256 });
    await expect(wide.logits(images)).rejects.toMatchObject({ code: expect.stringMatching(/^ERR_/) });
    await Promise.all([model.dispose(), wide.dispose()]);
  });

  it('of a seed out of range say so', async () => {
    const model = await randomModel(device(), options, 1);
    for (const seed of [-1, 1.5, 2 ** 53, -1n, 2n ** 64n]) {
      await expect(model.sample({ height: 2, width: 2, seed })).rejects.toMatchObject({
        code: 'ERR_OUT_OF_RANGE',
      });
      await expect(PixelCNN.create(device(), { seed })).rejects.toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
    }
    await model.dispose();
  });
});

describe('arrays of the caller', () => {
  it('are copied: changing, detaching or shrinking them after the call changes nothing', async () => {
    const random = new TestRandom(2);
    const conv = () => ({
      input: new TestRandom(3).normals(48),
      inputShape: [1, 4, 4, 3] as [number, number, number, number],
      weight: new TestRandom(4).normals(54),
      outChannels: 2,
      kernelSize: 3,
      maskType: 'B' as const,
    });
    const expected = await maskedConv2d(device(), conv());
    const changed = conv();
    const work = maskedConv2d(device(), changed);
    changed.input.fill(Number.NaN);
    structuredClone(changed.weight.buffer, { transfer: [changed.weight.buffer as ArrayBuffer] });
    expect(await work).toEqual(expected);

    const model = await randomModel(device(), options, 1);
    const images = randomImages(random, 2, 4, 4, 1);
    const nats = (await model.logLikelihood(images)).nats;
    const likelihood = model.logLikelihood(images);
    images.data.fill(0);
    expect((await likelihood).nats).toEqual(nats);
    await model.dispose();
  });

  it('are copied from a Buffer too, whose slice() is a view', async () => {
    const model = await randomModel(device(), options, 1);
    // More than one run takes, so that some are read late.
    const images = randomImages(new TestRandom(5), 40, 28, 28, 1);
    const { nats } = await model.logLikelihood(images);
    const data = Buffer.from(images.data);
    const likelihood = model.logLikelihood({ ...images, data });
    data.fill(0);
    expect((await likelihood).nats).toEqual(nats);
    await model.dispose();
  });

  it('may be views with an offset', async () => {
    const model = await randomModel(device(), options, 1);
    const images = randomImages(new TestRandom(5), 1, 4, 4, 1);
    const shifted = new Uint8Array(23);
    shifted.set(images.data, 7);
    const view = { ...images, data: shifted.subarray(7) };
    expect(await model.logLikelihood(view)).toEqual(await model.logLikelihood(images));
    expect(await model.logLikelihood({ ...images, data: Buffer.from(images.data) })).toEqual(
      await model.logLikelihood(images),
    );
    await model.dispose();
  });
});
