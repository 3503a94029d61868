// Tests that a resumed run says numericsChanged where what decides its bits has changed, once and with both, and only then.

import { cp, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
import type { Device } from '../../src/device/device.js';
import { type TrainOptions, train } from '../../src/index.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { readTrainingCheckpoint } from '../../src/train/checkpoint-folder.js';
import type { NumericsChangedEvent, TrainEvent } from '../../src/train/events.js';
import { type Numerics, numericsChangeText, numericsOf, numericsText } from '../../src/train/numerics.js';
import { openCpu, randomImages, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const device = testDevice({ threads: 2 });
const root = temporaryFolder('numerics');
const images = randomImages(new TestRandom(7), 20, 6, 6, 1);
// Wide enough for Winograd in both directions.
const network = { hiddenChannels: 24, layers: 3, kernelSize: 5, seed: 1 };

async function run(
  on: Device,
  checkpointFolder: string,
  steps: number,
  { levels = 4, ...more }: TrainOptions & { levels?: number } = {},
) {
  await using model = await PixelCNN.create(on, { ...network, levels });
  const heard: TrainEvent[] = [];
  const events: TrainEvent[] = [];
  const onEvent = (event: TrainEvent) => void heard.push(event);
  const options = { epochs: 1000, batchSize: 5, resume: true, checkpointFolder, steps, onEvent, ...more };
  for await (const event of train(model, images, options)) events.push(event);
  expect(heard).toEqual(events);
  return events;
}

const newestIn = async (folder: string) => {
  const names = (await readdir(folder)).filter((name) => name.startsWith('step-'));
  return join(folder, names.sort().at(-1)!);
};

/** The numerics in the newest checkpoint of a folder. */
async function storedIn(folder: string): Promise<unknown> {
  return (await readTrainingCheckpoint(await newestIn(folder))).training!.state.numerics;
}

/** Replaces the numerics in the newest checkpoint of a folder; undefined removes them. */
async function plant(folder: string, numerics: object | undefined): Promise<void> {
  const path = await newestIn(folder);
  const file = await readTrainingCheckpoint(path);
  const { numerics: _, ...rest } = file.training!.state;
  const state = numerics === undefined ? rest : { ...rest, numerics };
  await writeFile(path, encodeModel({ ...file, training: { ...file.training!, state } }));
}

/** Returns what the events say of numerics. It must come once, after `resume` and before everything else. */
function changeIn(events: readonly TrainEvent[]): Omit<NumericsChangedEvent, 'type'> | undefined {
  const said = events.filter((event) => event.type === 'numericsChanged');
  if (said.length === 0) return undefined;
  expect(said).toHaveLength(1);
  expect(events.slice(0, 2).map(({ type }) => type)).toEqual(['resume', 'numericsChanged']);
  const { type: _, ...rest } = said[0]!;
  return rest;
}

let here: Numerics;
let template = '';
beforeAll(async () => {
  here = numericsOf(device(), 'auto');
  template = join(root, 'template');
  expect(changeIn(await run(device(), template, 3))).toBeUndefined();
  expect(await storedIn(template)).toEqual(here);
});
async function copy(name: string): Promise<string> {
  const folder = join(root, name);
  await cp(template, folder, { recursive: true });
  return folder;
}

describe('a resumed run', () => {
  it('says nothing under the same numerics, from a folder and from a file', async () => {
    const folder = await copy('same');
    const events = await run(device(), folder, 5);
    expect(events[0]).toMatchObject({ type: 'resume', step: 3 });
    expect(changeIn(events)).toBeUndefined();
    const fromFile = await run(device(), join(root, 'elsewhere'), 6, { resume: await newestIn(folder) });
    expect(fromFile[0]).toMatchObject({ type: 'resume', step: 5 });
    expect(changeIn(fromFile)).toBeUndefined();
  });

  it('says nothing where it only has other threads', async () => {
    const one = (await openCpu('', 1))!;
    expect(changeIn(await run(one, await copy('threads'), 5))).toBeUndefined();
    await one.dispose();
  });

  it.each<[keyof Numerics, string | number]>([
    ['sums', 1],
    ['sums', 2 ** 40],
    ['backend', 'cuda'],
    ['instructionSet', 'sve'],
    ['precision', 'bf16'],
    ['algorithm', 'direct'],
    ['plans', 'cuDNN 9.24.0 on A GPU'],
  ])('says that %s was %s, once', async (key, value) => {
    const folder = await copy(`${key}-${value}`.replaceAll(' ', '-'));
    const from = { ...here, [key]: value };
    await plant(folder, from);
    expect(changeIn(await run(device(), folder, 5))).toEqual({ step: 3, from, to: here });
    // Its own checkpoints name its own numerics.
    expect(await storedIn(folder)).toEqual(here);
    expect(changeIn(await run(device(), folder, 7))).toBeUndefined();
  });

  it('says so where the checkpoint does not name numerics, once', async () => {
    const folder = await copy('unsaid');
    await plant(folder, undefined);
    expect(changeIn(await run(device(), folder, 5))).toEqual({ step: 3, from: null, to: here });
    expect(changeIn(await run(device(), folder, 6))).toBeUndefined();
  });

  it('says so of a checkpoint of 0.1.0', async () => {
    const path = fileURLToPath(
      new URL('../checkpoint/written-by-0.1.0/checkpoint.safetensors', import.meta.url),
    );
    const saved = await PixelCNN.load(device(), path.replace('checkpoint.safetensors', 'model.safetensors'));
    await using model = await PixelCNN.create(device(), saved.config);
    saved.dispose();
    const pictures = {
      data: Uint8Array.from({ length: 8 * 5 * 6 * 3 }, (_, i) => (i * 7919 + (i >> 3) * 31) % 256),
      ...{ count: 8, height: 5, width: 6, channels: 3 },
    };
    const settings = { batchSize: 4, emaDecay: 0.9, seed: 3, steps: 6, resume: path };
    const events: TrainEvent[] = [];
    for await (const event of train(model, pictures, settings)) events.push(event);
    expect(changeIn(events)).toEqual({ step: 4, from: null, to: here });
  });

  it('says that it has another algorithm', async () => {
    const events = await run(device(), await copy('algorithm'), 5, { algorithm: 'direct' });
    expect(changeIn(events)).toEqual({ step: 3, from: here, to: { ...here, algorithm: 'direct' } });
  });

  it.each([[null], [3], ['avx512'], [[]], [{}], [{ sums: 2 }]])(
    'refuses numerics that are %j',
    async (numerics) => {
      const folder = await copy(`malformed-${JSON.stringify(numerics).replace(/\W/g, '_')}`);
      await plant(folder, numerics as object);
      const path = await newestIn(folder);
      const refused = { code: 'CKPT_TRAINING_STATE', message: expect.stringContaining('numerics') };
      await expect(run(device(), join(root, 'new'), 5, { resume: path })).rejects.toMatchObject(refused);
      // In a folder it counts as damaged, and this folder has no other checkpoint.
      await expect(run(device(), folder, 5)).rejects.toMatchObject({ code: 'ERR_NO_CHECKPOINT' });
    },
  );
});

const sets: Device[] = [];
for (const isa of ['avx512', 'avx2']) {
  const opened = await openCpu(isa, 2);
  if (opened !== undefined) sets.push(opened);
}
afterAll(async () => {
  for (const each of sets) await each.dispose();
});
const missing = sets.length === 2 ? undefined : 'this processor or build lacks AVX2 or AVX-512';

describe.skipIf(skipAloud('runs of two instruction sets', missing))(
  'a run on another instruction set',
  () => {
    it('says so, once each time that it changes', async () => {
      const [avx512, avx2] = sets as [Device, Device];
      const folder = join(root, 'sets');
      await run(avx512, folder, 3);
      const [wide, narrow] = [numericsOf(avx512, 'auto'), numericsOf(avx2, 'auto')];
      expect([wide.instructionSet, narrow.instructionSet]).toEqual(['avx512', 'avx2']);
      expect(changeIn(await run(avx2, folder, 5))).toEqual({ step: 3, from: wide, to: narrow });
      expect(changeIn(await run(avx2, folder, 6))).toBeUndefined();
      expect(changeIn(await run(avx512, folder, 8))).toEqual({ step: 6, from: narrow, to: wide });
    });

    it.each(['direct', 'winograd'] as const)(
      'comes to other bits, with %s: numerics must name it',
      async (algorithm) => {
        const [first, second] = await Promise.all(
          sets.map(async (each, i) => {
            const folder = join(root, `${algorithm}-${i}`);
            await run(each, folder, 3, { algorithm, levels: 256 });
            return [...(await readTrainingCheckpoint(await newestIn(folder))).parameters.values()];
          }),
        );
        expect(first).not.toEqual(second);
      },
    );
  },
);

describe('numericsOf', () => {
  const gpu = (cudnn: string, name = 'NVIDIA H100 80GB HBM3') => ({
    sums: 1,
    info: {
      backend: 'cuda',
      name,
      instructionSet: 'sm_90',
      threads: 1,
      precision: 'bf16' as const,
      cudnn,
      rejected: [],
    },
  });

  it('names the plans of cuDNN, which train the head in a run with direct too', () => {
    const with9 = gpu('9.24.0 (/usr/lib/libcudnn.so.9)');
    const plans = 'cuDNN 9.24.0 on NVIDIA H100 80GB HBM3';
    expect(numericsOf(with9, 'direct')).toMatchObject({ algorithm: 'direct', plans });
    // On a GPU `winograd` means the same as `auto`.
    expect(numericsOf(with9, 'winograd')).toEqual(numericsOf(with9, 'auto'));
    expect(numericsOf(with9, 'auto')).toMatchObject({ algorithm: 'auto', plans });
    expect(numericsOf(gpu('9.25.0 (/a)'), 'auto').plans).not.toBe(plans);
    expect(numericsOf(gpu('9.24.0 (/b)'), 'auto').plans).toBe(plans);
    expect(numericsOf(gpu('9.24.0 (/a)', 'NVIDIA L4'), 'auto').plans).not.toBe(plans);
  });

  it('has one name for all algorithms of a GPU without cuDNN', () => {
    const without = gpu('none: there is no driver');
    for (const algorithm of ['auto', 'winograd', 'direct'] as const) {
      expect(numericsOf(without, algorithm)).toMatchObject({ algorithm: 'direct', plans: 'none' });
    }
  });

  it('can always be written to a checkpoint, whatever the processor is called', async () => {
    const odd = numericsOf(gpu('9.24.0 (/a)', `\u001b[31m${'Grafik™ '.repeat(40)}`), 'auto');
    const folder = await copy('odd');
    await plant(folder, odd);
    expect(changeIn(await run(device(), folder, 4))).toEqual({ step: 3, from: odd, to: here });
  });

  it('is told in words', () => {
    const cpu = { ...here, sums: 2, instructionSet: 'avx512' };
    expect(numericsText(cpu)).toBe(
      'sums version 2, backend cpu, instruction set avx512, precision f32, algorithm auto, cuDNN plans none',
    );
    expect(numericsChangeText({ ...cpu, sums: 1, instructionSet: 'avx2' }, cpu)).toBe(
      'sums version 1, now 2; instruction set avx2, now avx512',
    );
  });
});
