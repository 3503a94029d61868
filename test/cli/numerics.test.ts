// Tests that `pixelcnn train --resume` says where a run computes otherwise than its checkpoint, and what inspect shows of it.
import { cpSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeModel, encodeModel } from '../../src/checkpoint/model-file.js';
import { jsonLines, testFolder, tiny } from './run-cli.js';

const { run, path, read } = testFolder();

async function succeed(args: readonly string[]) {
  const ended = await run(args);
  expect(ended.code, ended.stderr).toBe(0);
  return ended;
}

beforeAll(async () => {
  const data = [
    '--data',
    'mnist',
    '--limit',
    '60',
    '--batch-size',
    '10',
    '--samples',
    '0',
    '--device',
    'cpu',
  ];
  await succeed([
    'train',
    ...data,
    ...tiny,
    '--validation',
    '0',
    '--steps',
    '6',
    '--out',
    'whole',
    '--quiet',
  ]);
});

/** A copy of a run that has ended at step 6. */
function copyOf(folder: string): string {
  cpSync(path('whole'), path(folder), { recursive: true });
  return folder;
}

describe('a run that computes otherwise than its checkpoint', () => {
  /** Changes the numerics in the newest checkpoint of a run; undefined removes them. Returns those that it had. */
  function plant(folder: string, change: object | undefined): object {
    const file = path(folder, 'checkpoints', 'step-00000006.safetensors');
    const checkpoint = decodeModel(readFileSync(file));
    const { numerics, ...rest } = checkpoint.training!.state;
    const state = change === undefined ? rest : { ...rest, numerics: { ...(numerics as object), ...change } };
    writeFileSync(file, encodeModel({ ...checkpoint, training: { ...checkpoint.training!, state } }));
    return numerics as object;
  }
  const saidIn = (text: string) => text.split('\n').filter((line) => line.includes('same bits'));
  const linesOf = (folder: string) =>
    jsonLines(read(folder, 'metrics.jsonl')).filter(({ type }) => type === 'numericsChanged');

  it('says in one line what has changed, once, and in metrics.jsonl', async () => {
    const change = { sums: 1, instructionSet: 'sve' };
    const folder = copyOf('otherwise');
    const to = plant(folder, change) as { sums: number; instructionSet: string };
    const resume = ['train', '--resume', '--out', folder];
    const { stderr } = await succeed([...resume, '--steps', '8']);
    expect(saidIn(stderr)).toEqual([
      `computed otherwise than before: sums version 1, now ${to.sums}; instruction set sve, now ${to.instructionSet}; the run goes on correctly, but perhaps not to the same bits`,
    ]);
    const lines = linesOf(folder);
    expect(lines).toMatchObject([{ step: 6, from: { ...to, ...change }, to }]);
    const again = await succeed([...resume, '--steps', '9']);
    expect(saidIn(again.stderr)).toEqual([]);
    expect(linesOf(folder)).toEqual(lines);
  });

  it('says that an older checkpoint does not tell, with --json on stdout only', async () => {
    const folder = copyOf('untold');
    const to = plant(folder, undefined);
    expect((await succeed(['inspect', `${folder}/checkpoints/step-00000006.safetensors`])).stdout).toMatch(
      /numerics +the file does not say/,
    );
    const { stdout, stderr } = await succeed([
      'train',
      '--resume',
      '--out',
      folder,
      '--steps',
      '7',
      '--json',
    ]);
    expect(stderr).toBe('');
    const told = jsonLines(stdout).filter(({ type }) => type === 'numericsChanged');
    expect(told).toMatchObject([{ step: 6, from: null, to }]);
    expect(linesOf(folder)).toEqual(told);
  });

  it('says so without --json, too, and shows malformed numerics as such', async () => {
    const folder = copyOf('untold-aloud');
    plant(folder, undefined);
    const { stderr } = await succeed(['train', '--resume', '--out', folder, '--steps', '7']);
    expect(saidIn(stderr)).toEqual([
      expect.stringMatching(/^the checkpoint does not say with which kernels/),
    ]);
    plant(copyOf('malformed'), { sums: '\u001b[2J' });
    const inspected = await succeed(['inspect', 'malformed/checkpoints/step-00000006.safetensors']);
    expect(inspected.stdout).toMatch(/numerics +malformed\n/);
    expect(inspected.stdout).not.toContain('\u001b');
  });
});
