// Tests that a run changes what a model says about itself only when its weights have changed.
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { decodeModel } from '../../src/checkpoint/model-file.js';
import type { ImageBatch, ImageValues } from '../../src/data/image-batch.js';
import { readFileBounded } from '../../src/data/read-file.js';
import { type Device, openDevice } from '../../src/device/device.js';
import { PixelCNN, type TrainOptions, train } from '../../src/index.js';
import type { TrainEvent } from '../../src/train/events.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const temporary = temporaryFolder('untrained-model');
const config = { hiddenChannels: 4, layers: 3, levels: 4, kernelSize: 3 };

let paths = 0;
function newPath(name: string): string {
  paths += 1;
  return join(temporary, `${paths}-${name}`);
}

/** Images one pixel wider than high: all levels of the model, or bytes. */
function images(size: number, values: ImageValues = 'bytes'): ImageBatch {
  const count = 12;
  const data = Uint8Array.from(
    { length: count * size * (size + 1) },
    (_, i) => ((i * 5) % 4) * (values === 'levels' ? 1 : 80),
  );
  return { data, count, height: size, width: size + 1, channels: 1, values };
}

let device: Device;
/** A model that was loaded from the file of a run of 3 steps on images of 5x6. */
let trained: PixelCNN;
beforeAll(async () => {
  device = await openDevice({ backend: 'cpu', threads: 1 });
});
beforeEach(async () => {
  await using model = await PixelCNN.create(device, config);
  await train(model, images(5, 'levels'), { steps: 3, batchSize: 4 });
  const path = newPath('trained.safetensors');
  await model.save(path);
  trained = await PixelCNN.load(device, path);
});
afterAll(() => device.dispose());

/** What a model says about itself, and what its file says about it. */
async function about(model: PixelCNN) {
  const path = newPath('about.safetensors');
  await model.save(path);
  const file = decodeModel(await readFileBounded(path), {}, path);
  const { imageSize, values, weights } = model;
  const said = { imageSize: file.imageSize, values: file.values, step: file.step };
  return { imageSize, values, weights, said };
}

const ofTrained = {
  imageSize: { height: 5, width: 6 },
  values: 'levels',
  weights: ['raw'],
  said: { imageSize: { height: 5, width: 6 }, values: 'levels', step: 3 },
};
const ofNew = {
  imageSize: undefined,
  values: undefined,
  weights: ['raw'],
  said: { imageSize: undefined, values: undefined, step: undefined },
};

/** Runs that end before their first step. The warm-up gives them a first event. */
const ended: Record<string, (model: PixelCNN, dataset: ImageBatch) => Promise<unknown>> = {
  'is stopped at once': (model, dataset) => {
    const run = train(model, dataset, { steps: 9 });
    run.stop();
    return expect(run).resolves.toMatchObject({ steps: 0, stopped: true });
  },
  'has its signal aborted': (model, dataset) => {
    const controller = new AbortController();
    const run = train(model, dataset, { steps: 9, signal: controller.signal });
    controller.abort(new Error('enough'));
    return expect(run).rejects.toThrow('enough');
  },
  'has an onEvent that throws at a warning': (model, dataset) => {
    const onEvent = ({ type }: TrainEvent) => {
      throw new Error(`at ${type}`);
    };
    return expect(train(model, dataset, { steps: 9, warmupSteps: 9, onEvent })).rejects.toThrow('at warning');
  },
  'fails to compile its first step': async (model, dataset) => {
    const compile = vi.spyOn(TrainingStep.prototype, 'run').mockRejectedValue(new Error('no program'));
    try {
      await expect(train(model, dataset, { steps: 9 })).rejects.toThrow('no program');
    } finally {
      compile.mockRestore();
    }
  },
  'has a checkpoint folder of another run': async (model, dataset) => {
    await using other = await PixelCNN.create(device, config);
    const checkpointFolder = newPath('other');
    await train(other, images(5, 'levels'), { steps: 2, checkpointFolder });
    await expect(train(model, dataset, { steps: 9, checkpointFolder })).rejects.toMatchObject({
      code: 'ERR_FOLDER_IN_USE',
    });
    const options = { steps: 9, checkpointFolder, resume: true };
    await expect(train(model, dataset, options)).rejects.toMatchObject({ code: 'CKPT_MISMATCH' });
  },
};

describe.each(Object.entries(ended))('a run that %s before its first step', (_, end) => {
  it('leaves a trained model as it was', async () => {
    expect(await about(trained)).toEqual(ofTrained);
    await end(trained, images(8, 'levels'));
    expect(await about(trained)).toEqual(ofTrained);
    // It can be trained on afterwards, and is then another.
    await train(trained, images(8, 'levels'), { steps: 1 });
    const imageSize = { height: 8, width: 9 };
    const said = { imageSize, values: 'levels', step: 1 };
    expect(await about(trained)).toEqual({ ...ofTrained, imageSize, said });
  });

  it('leaves a new model as it was', async () => {
    await using model = await PixelCNN.create(device, config);
    await end(model, images(8));
    expect(await about(model)).toEqual(ofNew);
  });
});

describe('a run whose first step is submitted', () => {
  it('has the model say so at once, because its weights have changed', async () => {
    let end: () => void = () => undefined;
    const released = new Promise<void>((resolve) => {
      end = resolve;
    });
    const original = TrainingStep.prototype.run;
    const held = vi.spyOn(TrainingStep.prototype, 'run').mockImplementation(async function (
      this: TrainingStep,
      ...step: Parameters<typeof original>
    ) {
      const result = await original.apply(this, step);
      await released;
      return result;
    });
    try {
      const weights = await trained.parameters('raw');
      const run = train(trained, images(8, 'levels'), { steps: 1 });
      while (trained.internals().version === 0) await new Promise(setImmediate);
      const imageSize = { height: 8, width: 9 };
      const said = { imageSize, values: 'levels', step: undefined };
      expect(await about(trained)).toEqual({ ...ofTrained, imageSize, said });
      expect(await trained.parameters('raw')).not.toEqual(weights);
      expect(await trained.sample({ count: 1 })).toMatchObject(imageSize);
      end();
      await run;
    } finally {
      end();
      held.mockRestore();
    }
  });
});

describe('a run that has taken a step', () => {
  it('has the model say so from the event of the step on, but no step while it goes on', async () => {
    const during: unknown[] = [];
    const options: TrainOptions = { steps: 40, batchSize: 4 };
    const run = train(trained, images(8, 'levels'), {
      ...options,
      onEvent: ({ type }) => type === 'step' && during.push(trained.imageSize),
    });
    let drawn: Promise<unknown> | undefined;
    for await (const event of run) {
      if (event.type !== 'step' || event.step !== 1) continue;
      drawn = trained.sample({ count: 1 });
      expect((await about(trained)).said).toMatchObject({
        imageSize: { height: 8, width: 9 },
        step: undefined,
      });
    }
    expect(during[0]).toEqual({ height: 8, width: 9 });
    expect(await drawn).toMatchObject({ height: 8, width: 9, values: 'levels' });
    expect((await about(trained)).said.step).toBe(40);
  });

  it('and then fails, leaves a model of no step that is known', async () => {
    const onEvent = (event: TrainEvent) => {
      if (event.type === 'step') throw new Error('enough');
    };
    await expect(train(trained, images(8, 'levels'), { steps: 9, onEvent })).rejects.toThrow('enough');
    const imageSize = { height: 8, width: 9 };
    expect(await about(trained)).toMatchObject({ imageSize, said: { imageSize, step: undefined } });
  });
});

describe('a run that has restored a checkpoint', () => {
  it('and ends before a further step, leaves the model of that checkpoint', async () => {
    await using model = await PixelCNN.create(device, config);
    const checkpointFolder = newPath('restored');
    const options = { batchSize: 4, checkpointFolder, resume: true };
    await train(model, images(8), { ...options, steps: 2 });
    const wanted = await model.parameters('raw');
    const onEvent = ({ type }: TrainEvent) => {
      throw new Error(`at ${type}`);
    };
    await using other = await PixelCNN.create(device, { ...config, seed: 9 });
    const resumed = train(other, images(8), { ...options, steps: 4, onEvent });
    await expect(resumed).rejects.toThrow('at resume');
    expect(await other.parameters('raw')).toEqual(wanted);
    const imageSize = { height: 8, width: 9 };
    const said = { imageSize, values: 'bytes', step: 2 };
    expect(await about(other)).toEqual({ imageSize, values: 'bytes', weights: ['raw'], said });
  });
});
