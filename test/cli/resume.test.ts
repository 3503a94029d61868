// Tests `pixelcnn train --resume` on folders in every state: what is continued, what is refused, and what the files
// then say.
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodeModel, encodeModel } from '../../src/checkpoint/model-file.js';
import { jsonLines, stepsOf, testFolder, tiny, upTo } from './run-cli.js';

const { run, path, read } = testFolder();
const flags = ['--data', 'mnist', '--limit', '60', '--batch-size', '10', '--samples', '0', '--device', 'cpu'];
const train = ['train', ...flags, ...tiny, '--validation', '0'];

async function succeed(args: readonly string[]) {
  const ended = await run(args);
  expect(ended.code, ended.stderr).toBe(0);
  return ended;
}

beforeAll(() => succeed([...train, '--steps', '6', '--out', 'whole', '--quiet']));

/** A copy of a run that has ended at step 6. */
function copyOf(folder: string): string {
  cpSync(path('whole'), path(folder), { recursive: true });
  return folder;
}

describe('a run without checkpoints', () => {
  const kept = ['metrics.jsonl', 'model.safetensors', 'summary.json', 'config.json'];

  it.each([
    ['gone', kept],
    ['gone-but-metrics', ['metrics.jsonl', 'config.json']],
    ['gone-but-model', ['model.safetensors', 'config.json']],
    ['gone-but-summary', ['summary.json', 'config.json']],
  ])('that it once had is refused and stays as it is: %s', async (folder, files) => {
    copyOf(folder);
    rmSync(path(folder, 'checkpoints'), { recursive: true });
    for (const name of [...kept, 'curve.svg']) if (!files.includes(name)) rmSync(path(folder, name));
    const before = files.map((name) => readFileSync(path(folder, name)));
    const { code, stderr } = await run([...train, '--steps', '9', '--resume', '--out', folder]);
    expect(code).toBe(1);
    expect(stderr).toContain('ERR_NO_CHECKPOINT');
    expect(stderr).toContain('another --out');
    if (files.includes('model.safetensors'))
      expect(stderr).toContain(`what was trained is in ${folder}/model.safetensors`);
    expect(files.map((name) => readFileSync(path(folder, name)))).toEqual(before);
    expect(existsSync(path(folder, 'checkpoints'))).toBe(false);
    // Nor is it a folder for a new run.
    const anew = await run([...train, '--steps', '9', '--out', folder]);
    expect([anew.code, anew.stderr]).toEqual([2, expect.stringContaining('already holds a run')]);
  });

  it('whose only checkpoint is damaged is refused, too', async () => {
    const folder = copyOf('damaged');
    rmSync(path(folder, 'checkpoints'), { recursive: true });
    mkdirSync(path(folder, 'checkpoints'));
    writeFileSync(path(folder, 'checkpoints', 'best.safetensors'), 'damaged');
    const before = read(folder, 'metrics.jsonl');
    const { code, stderr } = await run(['train', '--resume', '--out', folder]);
    expect([code, stderr.includes('ERR_NO_CHECKPOINT')]).toEqual([1, true]);
    expect(read(folder, 'metrics.jsonl')).toBe(before);
  });

  it('that was interrupted before its first begins anew, and says what that costs', async () => {
    mkdirSync(path('early'));
    for (const step of [1, 2, 3])
      appendFileSync(path('early', 'metrics.jsonl'), `{"type":"step","step":${step},"nats":1}\n`);
    const { stderr } = await succeed([...train, '--steps', '2', '--resume', '--out', 'early']);
    expect(stderr).toContain(
      'early: interrupted before its first checkpoint, begins anew, without the metrics of 3 steps\n',
    );
    const lines = jsonLines(read('early', 'metrics.jsonl'));
    expect(stepsOf(lines)).toEqual(upTo(2));
    const { stderr: again } = await succeed([...train, '--steps', '4', '--resume', '--out', 'early']);
    expect(again).not.toContain('begins anew');
    expect(again).toContain('resumed at step 2');
  });
});

describe('metrics of which a full disk has taken some', () => {
  it('are told of when the run is resumed, and once', async () => {
    const folder = copyOf('lacking');
    writeFileSync(
      path(folder, 'metrics.jsonl'),
      `${read(folder, 'metrics.jsonl').split('\n').slice(0, 4).join('\n')}\n`,
    );
    const { stderr } = await succeed(['train', '--resume', '--out', folder, '--steps', '8']);
    expect(stderr).toContain('lacking/metrics.jsonl lacks lines of steps 5 to 6\n');
    const again = await succeed(['train', '--resume', '--out', folder, '--steps', '9']);
    expect(again.stderr).not.toContain('lacks');
    expect(stepsOf(jsonLines(read(folder, 'metrics.jsonl')))).toEqual([1, 2, 3, 4, 7, 8, 9]);
  });
});

describe('the options that a message names', () => {
  it('are flags of the command line', async () => {
    const other = await run(['train', '--resume', '--out', copyOf('flags'), '--batch-size', '5']);
    expect(other.stderr).toMatch(/is of a run with --batch-size 10, this one has 5\n/);
    const { stderr } = await succeed([...train, '--steps', '2', '--warmup-steps', '5', '--out', 'warming']);
    expect(stderr).toMatch(/the warm-up of 5 steps .* \(--warmup-steps\)\n/);
    rmSync(path('flags', 'metrics.jsonl'));
    for (const name of ['model.safetensors', 'summary.json']) rmSync(path('flags', name));
    const used = await run([...train, '--steps', '2', '--out', 'flags']);
    expect(used.stderr).toContain('fix: resume the run they belong to (--resume), or choose another --out\n');
  });
});

describe('the models of a resumed run', () => {
  const average = ['--ema-decay', '0.9'];
  const data = ['--data', 'mnist:test', '--limit', '10', '--device', 'cpu'];

  it('are of its last step: an average that it does not keep any more is removed', async () => {
    const out = ['--out', 'averaged'];
    await succeed([...train, ...average, '--epochs', '2', ...out, '--quiet']);
    const stale = readFileSync(path('averaged', 'model-ema.safetensors'));
    const resume = ['train', '--resume', ...out, '--quiet'];
    await succeed([...resume, '--ema-decay', '0', '--epochs', '4']);
    expect(existsSync(path('averaged', 'model-ema.safetensors'))).toBe(false);
    await succeed([...resume, ...average, '--epochs', '4']);
    const evaluated = async (...more: string[]) => {
      const { stdout, stderr } = await succeed(['evaluate', 'averaged', ...data, '--json', ...more]);
      expect(stderr).toBe('');
      return JSON.parse(stdout) as { model: string; weights: string };
    };
    const raw = { model: 'averaged/model.safetensors', weights: 'raw' };
    expect(await evaluated()).toMatchObject(raw);
    // As a crash between two files leaves it.
    writeFileSync(path('averaged', 'model-ema.safetensors'), stale);
    writeFileSync(path('averaged', 'config.json'), JSON.stringify({ emaDecay: 0.9 }));
    const { stderr } = await succeed(['evaluate', 'averaged', ...data]);
    expect(stderr).toContain(
      'averaged/model-ema.safetensors is older than the run: its newest checkpoint is averaged/checkpoints/step-00000024',
    );
    const asked = await succeed(['evaluate', 'averaged', ...data, '--weights', 'raw']);
    expect(asked.stderr).not.toContain('older than');
  });

  it('later than the newest checkpoint are called so', async () => {
    const folder = copyOf('later');
    renameSync(
      path(folder, 'checkpoints', 'step-00000006.safetensors'),
      path(folder, 'checkpoints', 'step-00000005.safetensors'),
    );
    const { stderr } = await succeed(['evaluate', folder, ...data]);
    expect(stderr).toContain('later/model.safetensors is of step 6, later than the run');
  });
});

describe('the summary of a resumed run', () => {
  const summaryIn = (folder: string) => JSON.parse(read(folder, 'summary.json')) as Record<string, unknown>;
  const change = (folder: string, changes: object) =>
    writeFileSync(path(folder, 'summary.json'), JSON.stringify({ ...summaryIn(folder), ...changes }));
  /** Resumes, and checks that stdout tells what the file holds. */
  async function resume(folder: string, ...more: string[]) {
    const { stdout } = await succeed(['train', '--resume', '--out', folder, '--json', ...more]);
    const { type: _, out: __, ...told } = JSON.parse(stdout.trimEnd().split('\n').at(-1)!);
    expect(told).toEqual(summaryIn(folder));
    return told as Record<string, unknown>;
  }
  const test = ['--test', 'mnist:test', '--test-limit', '5'];

  it('of an earlier end gives way to that of the last step', async () => {
    // Killed after its last checkpoint, before it wrote a summary.
    const folder = copyOf('earlier');
    change(folder, { steps: 3, bitsPerDim: 99, test: { nats: 99 } });
    const summary = await resume(folder);
    expect(summary).toMatchObject({ steps: 6, stopped: false, lossOf: 'none', bitsPerDim: null });
    expect(summary).not.toHaveProperty('test');
  });

  it('that says stopped says so no longer when the run ends there, and keeps its loss', async () => {
    const before = summaryIn(copyOf('stopped'));
    change('stopped', { stopped: true });
    const summary = await resume('stopped', ...test);
    const { lossOf, bitsPerDim, seconds } = before;
    expect(bitsPerDim).toEqual(expect.any(Number));
    expect(summary).toMatchObject({ stopped: false, lossOf, bitsPerDim, seconds, test: { images: 5 } });
  });

  it('holds a test evaluation that a finished run is asked for, and the newest of two', async () => {
    const before = summaryIn(copyOf('tested'));
    expect(await resume('tested', ...test)).toEqual({
      ...before,
      test: expect.objectContaining({ images: 5 }),
    });
    expect(await resume('tested', '--test', 'mnist:test', '--test-limit', '7')).toMatchObject({
      test: { images: 7 },
    });
    expect(await resume('tested', '--no-test')).toMatchObject({ test: { images: 7 } });
  });

  it('holds a validation that was interrupted and is made up for', async () => {
    const folder = 'validated';
    const flags = [...train, '--validation', '0.1', '--steps', '6', '--batch-size', '9', '--out', folder];
    await succeed([...flags, '--json']);
    const { validation } = summaryIn(folder);
    expect(validation).toMatchObject({ nats: expect.any(Number), step: 6 });
    // The state of a run that was told to stop in its last validation: the sums of the epoch stand in the checkpoint.
    const file = path(folder, 'checkpoints', 'step-00000006.safetensors');
    const model = decodeModel(readFileSync(file));
    const state = { ...model.training!.state, epochNats: 600, epochImages: 54, bestNats: null };
    const training = { arrays: model.training!.arrays, state };
    rmSync(path(folder, 'checkpoints', 'best.safetensors'));
    writeFileSync(file, encodeModel({ ...model, training }));
    change(folder, { lossOf: 'step', validation: undefined });
    expect(await resume(folder)).toMatchObject({ lossOf: 'epoch', nats: 600 / 54, validation });
  });
});

describe('a run that is stopped before its first step', () => {
  const preload = new URL('./children/stop-at-once.mjs', import.meta.url).href;
  const stoppedAtOnce = (args: readonly string[]) => run(args, { NODE_OPTIONS: `--import=${preload}` });

  it('says so, and --resume begins it with the options it had', async () => {
    const stopped = await stoppedAtOnce([...train, '--steps', '3', '--out', 'unbegun']);
    expect([stopped.code, stopped.stderr]).toEqual([
      130,
      expect.stringMatching(/stopped before the first step; continue with --resume --out unbegun\n$/),
    ]);
    expect(existsSync(path('unbegun', 'summary.json'))).toBe(false);
    const { code } = await run(['train', '--resume', '--out', 'unbegun']);
    expect([code, JSON.parse(read('unbegun', 'summary.json'))]).toEqual([
      0,
      expect.objectContaining({ steps: 3 }),
    ]);
  });

  it('of a further part keeps the length that was asked for', async () => {
    const resume = ['train', '--resume', '--out', 'unbegun'];
    expect((await stoppedAtOnce([...resume, '--steps', '5'])).code).toBe(130);
    expect((await run(resume)).code).toBe(0);
    expect(JSON.parse(read('unbegun', 'summary.json'))).toMatchObject({ steps: 5, stopped: false });
  });
});
