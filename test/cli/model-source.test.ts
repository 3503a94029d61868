// Tests which file and weights `sample`, `complete`, `evaluate` and `inspect` take from a path, and that they say
// so.
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodeSafetensors, parseSafetensors } from '../../src/checkpoint/safetensors.js';
import { images, testFolder } from './run-cli.js';

const { run, start, path } = testFolder();
const training = [...images, '--batch-size', '10', '--samples', '0', '--learning-rate', '0.01'];
const data = ['--data', 'mnist:test', '--limit', '10'];

async function succeed(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(args);
  expect([code, stderr], stderr).toEqual([0, '']);
  return stdout;
}
async function json(args: readonly string[]): Promise<Record<string, unknown>> {
  return JSON.parse(await succeed([...args, '--json'])) as Record<string, unknown>;
}
/** What `evaluate` says of a model. */
async function evaluated(model: string, weights?: string) {
  const flags = weights === undefined ? [] : ['--weights', weights];
  const result = await json(['evaluate', model, ...data, ...flags]);
  return { model: result.model, weights: result.weights, nats: result.nats as number };
}
const newestCheckpoint = (folder: string) =>
  `${folder}/checkpoints/${readdirSync(path(folder, 'checkpoints'))
    .filter((name) => name.startsWith('step-'))
    .sort()
    .at(-1)}`;

beforeAll(async () => {
  const average = ['--ema-decay', '0.9', '--epochs', '2'];
  await succeed([...training, ...average, '--out', 'ema', '--quiet']);
  await succeed([...training, '--epochs', '2', '--seed', '9', '--out', 'raw', '--quiet']);
  const interrupted = start([...training, ...average, '--epochs', '1000', '--out', 'interrupted', '--json']);
  await interrupted.said('"step":12,');
  interrupted.child.kill('SIGTERM');
  await interrupted.ended;
});

/** The number of each file with one set of weights, none like another. */
let numbers: { raw: number; ema: number; plain: number };
beforeAll(async () => {
  const [raw, ema, plain] = await Promise.all([
    evaluated('ema/model.safetensors'),
    evaluated('ema/model-ema.safetensors'),
    evaluated('raw/model.safetensors'),
  ]);
  expect([raw.weights, ema.weights, plain.weights]).toEqual(['raw', 'ema', 'raw']);
  expect(new Set([raw.nats, ema.nats, plain.nats]).size).toBe(3);
  numbers = { raw: raw.nats, ema: ema.nats, plain: plain.nats };
});

describe('evaluate', () => {
  it('takes of a run its average if it has one, and other weights when told to', async () => {
    const { raw, ema, plain } = numbers;
    const [emaFile, rawFile] = ['ema/model-ema.safetensors', 'ema/model.safetensors'];
    expect(await evaluated('ema')).toEqual({ model: emaFile, weights: 'ema', nats: ema });
    expect(await evaluated('ema', 'ema')).toEqual({ model: emaFile, weights: 'ema', nats: ema });
    expect(await evaluated('ema', 'raw')).toEqual({ model: rawFile, weights: 'raw', nats: raw });
    const plainFile = 'raw/model.safetensors';
    expect(await evaluated('raw')).toEqual({ model: plainFile, weights: 'raw', nats: plain });
    expect(await evaluated('raw', 'raw')).toEqual({ model: plainFile, weights: 'raw', nats: plain });
  });

  it('takes of a checkpoint, or of the folder of them, its average unless told otherwise', async () => {
    const { raw, ema, plain } = numbers;
    const model = newestCheckpoint('ema');
    for (const given of [model, 'ema/checkpoints']) {
      expect(await evaluated(given)).toEqual({ model, weights: 'ema', nats: ema });
      expect(await evaluated(given, 'raw')).toEqual({ model, weights: 'raw', nats: raw });
    }
    expect(await evaluated(newestCheckpoint('raw'))).toMatchObject({ weights: 'raw', nats: plain });
  });

  it('takes of an interrupted run its newest whole checkpoint, and says what it passed over', async () => {
    const names = readdirSync(path('interrupted'));
    expect(names.filter((name) => name.endsWith('.safetensors'))).toEqual([]);
    const model = newestCheckpoint('interrupted');
    const ema = await evaluated('interrupted');
    expect(ema).toMatchObject({ model, weights: 'ema' });
    const raw = await evaluated('interrupted', 'raw');
    expect(raw).toMatchObject({ model, weights: 'raw' });
    expect(raw.nats).not.toBe(ema.nats);
    cpSync(path('interrupted'), path('damaged'), { recursive: true });
    const broken = newestCheckpoint('damaged');
    truncateSync(path(broken), 1000);
    const { code, stdout, stderr } = await run(['evaluate', 'damaged', ...data]);
    expect(code).toBe(0);
    expect(stderr).toContain(`skipped checkpoint ${broken}: `);
    const [older] = readdirSync(path('damaged', 'checkpoints'))
      .filter((name) => name.startsWith('step-') && !broken.endsWith(name))
      .sort()
      .slice(-1);
    expect(stderr).toContain(`model: damaged/checkpoints/${older}, ema weights`);
    expect(stdout).toMatch(new RegExp(`weights +ema +damaged/checkpoints/${older}`));
  });

  it('says so when the run has gone on since it saved its models', async () => {
    expect((await run(['evaluate', 'ema', ...data])).stderr).not.toContain('older than the run');
    cpSync(path('ema'), path('gone-on'), { recursive: true });
    const newer = 'gone-on/checkpoints/step-00000099.safetensors';
    copyFileSync(path(newestCheckpoint('gone-on')), path(newer));
    const { stderr } = await run(['evaluate', 'gone-on', ...data]);
    expect(stderr).toContain(
      `gone-on/model-ema.safetensors is older than the run: its newest checkpoint is ${newer}`,
    );
  });

  it('does not take the average that a run had before it was resumed without one', async () => {
    cpSync(path('ema'), path('ended'), { recursive: true });
    const rest = ['--resume', '--out', 'ended', '--ema-decay', '0', '--epochs', '3', '--quiet'];
    await succeed(['train', ...rest]);
    expect(await evaluated('ended')).toMatchObject({ model: 'ended/model.safetensors', weights: 'raw' });
  });

  it.each([
    ['ema', 'ema/model.safetensors', 'raw', 'model-ema.safetensors or a checkpoint'],
    ['raw', 'ema/model-ema.safetensors', 'ema', 'model.safetensors or a checkpoint'],
    ['ema', 'raw/model.safetensors', 'raw', 'keeps a moving average'],
    ['ema', 'raw', 'raw', 'keeps a moving average'],
  ])('refuses %s weights of %s', async (asked, model, held, remedy) => {
    const { code, stdout, stderr } = await run(['evaluate', model, ...data, '--weights', asked]);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toContain(
      `evaluate: weights '${asked}' were asked for, but the model holds '${held}' weights only`,
    );
    expect(stderr).toContain(remedy);
    expect(stderr).toContain('ERR_NO_SUCH_WEIGHTS');
  });

  it('refuses weights by name also where the run has no checkpoints any more', async () => {
    cpSync(path('raw'), path('pruned'), { recursive: true });
    rmSync(path('pruned', 'checkpoints'), { recursive: true });
    const { code, stderr } = await run(['evaluate', 'pruned', ...data, '--weights', 'ema']);
    expect(code).toBe(1);
    expect(stderr).toContain('ERR_NO_SUCH_WEIGHTS');
  });

  it('refuses a folder without a model and says what to give', async () => {
    mkdirSync(path('empty'));
    for (const [folder, remedy] of [
      ['empty', 'give a safetensors file, or the folder of a run'],
      ['.', 'give one of the runs in it: '],
    ] as const) {
      const { code, stderr } = await run(['evaluate', folder, ...data]);
      expect(code).toBe(1);
      expect(stderr).toContain(`${folder} is a folder without a model or a checkpoint in it`);
      expect(stderr).toContain(remedy);
      expect(stderr).toContain('ERR_NO_MODEL');
    }
    const { code, stderr } = await run(['evaluate', 'nowhere', ...data]);
    expect([code, stderr.includes('ENOENT')]).toEqual([1, true]);
  });
});

describe('sample and complete', () => {
  const drawing = [
    ['sample', ['--count', '1', '--seed', '3']],
    ['complete', ['--images', 'mnist:test', '--count', '1', '--completions', '1', '--seed', '3']],
  ] as const;

  it.each(drawing)('%s takes a run, and says which file and weights it drew with', async (command, flags) => {
    const draw = async (model: string, more: readonly string[] = []) => {
      const told = await json([command, model, ...flags, ...more, '--out', 'drawn.png']);
      return { told, picture: readFileSync(path('drawn.png')) };
    };
    const average = await draw('ema');
    expect(average.told).toMatchObject({ model: 'ema/model-ema.safetensors', weights: 'ema', seed: 3 });
    const raw = await draw('ema', ['--weights', 'raw']);
    expect(raw.told).toMatchObject({ model: 'ema/model.safetensors', weights: 'raw', seed: 3 });
    expect(average.picture).toEqual((await draw('ema/model-ema.safetensors')).picture);
    expect(raw.picture).toEqual((await draw('ema/model.safetensors')).picture);
    expect(raw.picture).not.toEqual(average.picture);
    const { stdout, stderr } = await run([command, 'ema', ...flags]);
    expect(stdout).toContain('seed 3, ema weights');
    expect(stderr).toContain('model: ema/model-ema.safetensors, ema weights');
  });
});

describe('inspect', () => {
  it.each([
    ['ema', 'ema/model-ema.safetensors', ['ema']],
    ['ema/model.safetensors', 'ema/model.safetensors', ['raw']],
    ['ema/checkpoints/best.safetensors', 'ema/checkpoints/best.safetensors', ['raw', 'ema']],
    ['raw', 'raw/model.safetensors', ['raw']],
    ['raw/checkpoints/best.safetensors', 'raw/checkpoints/best.safetensors', ['raw']],
  ])('says which weights %s holds', async (given, file, weights) => {
    expect(await json(['inspect', given, '--no-tensors'])).toMatchObject({ file, weights });
    const stdout = await succeed(['inspect', given, '--no-tensors', '--quiet']);
    expect(stdout).toMatch(new RegExp(`^weights +${weights.join(' and ')}$`, 'm'));
  });

  it('says that a file does not say, as those of PyTorch do not', async () => {
    const { tensors } = parseSafetensors(readFileSync(path('raw', 'model.safetensors')));
    writeFileSync(path('state-dict.safetensors'), encodeSafetensors(tensors));
    const stdout = await succeed(['inspect', 'state-dict.safetensors', '--no-tensors', '--quiet']);
    expect(stdout).toMatch(/^weights +raw: the file does not say which/m);
    expect(await json(['inspect', 'state-dict.safetensors'])).toMatchObject({ weights: ['raw'] });
  });
});
