// Tests `pixelcnn train`: the files of a run, resuming, and what is printed where. For signals see
// signals.timed.test.ts.
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { decodePng } from '../../src/data/png.js';
import { common, images, jsonLines, mainFile, stepsOf, testFolder, upTo } from './run-cli.js';

const { run, start, path, read } = testFolder();

describe('a run', () => {
  it('leaves config, metrics, samples, curve, checkpoints, models and summary', async () => {
    const flags = ['--steps', '12', '--epochs', '2', '--ema-decay', '0.9', '--out', 'whole'];
    const { code, stdout, stderr } = await run([...common, ...flags]);
    expect([code, stdout]).toEqual([0, '']);
    const names = ['config.json', 'curve.svg', 'metrics.jsonl', 'model-ema.safetensors', 'model.safetensors'];
    expect(readdirSync(path('whole')).sort()).toEqual(
      [...names, 'checkpoints', 'samples', 'summary.json'].sort(),
    );

    const lines = jsonLines(read('whole', 'metrics.jsonl'));
    expect(stepsOf(lines)).toEqual(upTo(12));
    expect(lines[0]).toMatchObject({ type: 'step', step: 1, epoch: 0, split: 'train', skipped: false });
    for (const key of ['nats', 'bitsPerDim', 'learningRate', 'gradientNorm', 'imagesPerSecond', 'wallTime'])
      expect(lines[0]).toHaveProperty(key, expect.any(Number));
    const others = lines.filter(({ type }) => type !== 'step').map(({ type, step }) => `${type} ${step}`);
    expect(others).toEqual(['epoch 9', 'validation 9', 'sample 9', 'checkpoint 9', 'checkpoint 12']);
    const protocol = 'levels';
    const labels: Record<string, object> = {
      step: { split: 'train', weights: 'raw', protocol },
      epoch: { split: 'train', weights: 'raw', protocol },
      validation: { split: 'validation', weights: 'ema', protocol, images: 10 },
      sample: { weights: 'ema', seed: 0 },
      checkpoint: {},
    };
    for (const line of lines) expect(line).toMatchObject(labels[line.type]!);

    const grid = decodePng(readFileSync(path('whole', 'samples', 'epoch-001.png')));
    expect([grid.width, grid.height]).toEqual([2 * 56 + 6, 2 * 56 + 6]);
    expect(read('whole', 'curve.svg')).toMatch(/^<svg [\s\S]*<\/svg>\n$/);
    const summary = JSON.parse(read('whole', 'summary.json')) as Record<string, unknown>;
    expect(summary).toMatchObject({
      steps: 12,
      stopped: false,
      checkpoint: 'checkpoints/step-00000012.safetensors',
      lossOf: 'epoch',
      split: 'train',
      weights: 'raw',
      protocol,
      validation: { step: 9, split: 'validation', weights: 'ema', protocol, images: 10 },
    });

    expect(stderr).toMatch(/device cpu: .+, \d+ threads, not cuda: /);
    expect(stderr).toContain('step 1/12');
    expect(stderr).toMatch(/epoch 1\/2 {2}validation .*, ema weights, best so far/);
    expect(stderr).not.toContain('\r');
  });

  it('with --json tells every event on stdout and nothing on stderr', async () => {
    const { code, stdout, stderr } = await run([...common, '--steps', '9', '--out', 'json', '--json']);
    expect([code, stderr]).toEqual([0, '']);
    const types = jsonLines(stdout).map(({ type }) => type);
    const steps = upTo(9).map(() => 'step');
    expect(types).toEqual(['start', ...steps, 'epoch', 'validation', 'sample', 'checkpoint', 'summary']);
  });

  it('evaluates the test images at the end', async () => {
    const flags = [
      '--steps',
      '2',
      '--samples',
      '0',
      '--test',
      path('whole', 'samples'),
      '--out',
      'tested',
      '--quiet',
    ];
    const { code, stderr } = await run([
      ...images,
      ...flags,
      '--data',
      path('whole', 'samples'),
      '--validation',
      '0',
    ]);
    expect([code, stderr]).toEqual([0, '']);
    const { test } = JSON.parse(read('tested', 'summary.json')) as { test: Record<string, unknown> };
    expect(test).toMatchObject({
      images: 1,
      protocol: 'levels',
      weights: 'raw',
      bitsPerDim: expect.any(Number),
    });
  });

  it('on a terminal draws one line in place', async ({ skip }) => {
    if (!existsSync('/usr/bin/script')) skip('no script(1) here');
    const { spawnSync } = await import('node:child_process');
    const command = [
      process.execPath,
      mainFile,
      ...common,
      '--steps',
      '40',
      '--epochs',
      '9',
      '--out',
      path('pty'),
    ];
    const { stdout } = spawnSync('script', ['-qec', command.join(' '), '/dev/null'], { encoding: 'utf8' });
    expect(stdout).toContain('\r\u001b[2Kstep 1/40');
    expect(stdout).toContain('done: 40 steps');
  });
});

describe('the length of a run', () => {
  it('of steps alone takes as many epochs as it needs', async () => {
    const { code, stderr } = await run([...common, '--steps', '20', '--out', 'steps']);
    expect(code).toBe(0);
    expect(stderr).toContain('training: 20 steps,');
    expect(stderr).toContain('epoch 2/3  validation');
    expect(stepsOf(jsonLines(read('steps', 'metrics.jsonl')))).toEqual(upTo(20));
  });

  it('replaces that of a preset, and that of the run to resume', async () => {
    const preset = ['--preset', 'mnist-demo', '--levels', '2', '--test', path('whole', 'samples')];
    const flags = ['--samples', '0', '--epochs', '1', '--out', 'preset'];
    const first = await run([...images, ...preset, '--batch-size', '10', ...flags]);
    expect(first.code).toBe(0);
    expect(first.stderr).toContain('training: 1 epochs,');
    const config = JSON.parse(read('preset', 'config.json')) as Record<string, unknown>;
    expect(config).toMatchObject({ epochs: 1 });
    expect(config).not.toHaveProperty('steps');
    const same = await run(['train', '--resume', '--out', 'preset']);
    expect(same.stderr).toContain('training: 1 epochs,');
    const second = await run(['train', '--resume', '--out', 'preset', '--steps', '12']);
    expect(second.stderr).toContain('training: 12 steps,');
    expect(stepsOf(jsonLines(read('preset', 'metrics.jsonl')))).toEqual(upTo(12));
  });
});

describe('resuming', () => {
  it('takes the newest run of the preset or data, not of one whose name begins alike', async () => {
    const nothing = ['train', '--preset', 'mnist', '--resume'];
    const other = path('runs', 'mnist-demo-29991231-235959');
    mkdirSync(other, { recursive: true });
    writeFileSync(join(other, 'metrics.jsonl'), '');
    const refused = await run(nothing);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('no run named mnist-<time> in runs/');
    expect((await run([...common, '--samples', '0', '--steps', '1', '--quiet'])).code).toBe(0);
    utimesSync(join(other, 'metrics.jsonl'), new Date(), new Date(Date.now() + 60_000));
    const { code, stdout } = await run([...common, '--samples', '0', '--steps', '2', '--resume', '--json']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^\{"type":"start","out":"runs\/mnist-\d{8}-\d{6}"/);
  });

  it('continues the newest checkpoint with the options of the run, metrics without gap or repeat', async () => {
    const first = await run([
      ...common,
      '--steps',
      '5',
      '--epochs',
      '2',
      '--checkpoint-every',
      '2',
      '--out',
      'resumed',
    ]);
    expect(first.code).toBe(0);
    const second = await run(['train', '--resume', '--out', 'resumed', '--steps', '12']);
    expect([second.code, second.stdout]).toEqual([0, '']);
    expect(second.stderr).toContain('resumed at step 5');
    const lines = jsonLines(read('resumed', 'metrics.jsonl'));
    expect(stepsOf(lines)).toEqual(upTo(12));

    // The same numbers as a run in one go.
    const whole = await run([...common, '--steps', '12', '--epochs', '2', '--out', 'at-once', '--quiet']);
    expect(whole.code).toBe(0);
    const losses = (folder: string) =>
      jsonLines(read(folder, 'metrics.jsonl'))
        .filter(({ type }) => type === 'step')
        .map(({ bitsPerDim }) => bitsPerDim);
    expect(losses('resumed')).toEqual(losses('at-once'));
  });

  it('cuts what came after the checkpoint, half a line included', async () => {
    const flags = ['--steps', '40', '--epochs', '9', '--checkpoint-every', '4', '--out', 'killed', '--json'];
    const { child, ended, said } = start([...common, ...flags]);
    await said('"type":"step","step":6,');
    child.kill('SIGKILL');
    await ended;
    appendFileSync(path('killed', 'metrics.jsonl'), '{"type":"step","step":99,"nats":1}\n{"type":"st');
    const litter = ['curve.svg.tmp-1-0123456789ab', 'samples/epoch-001.png.tmp-1-0123456789ab'];
    mkdirSync(path('killed', 'samples'), { recursive: true });
    for (const name of litter) writeFileSync(path('killed', name), 'half');
    const { code } = await run(['train', '--resume', '--out', 'killed', '--quiet']);
    expect(code).toBe(0);
    for (const name of litter) expect(existsSync(path('killed', name)), name).toBe(false);
    expect(stepsOf(jsonLines(read('killed', 'metrics.jsonl')))).toEqual(upTo(40));
  });

  it('killed again and again, has every line of metrics in the end', async () => {
    const flags = ['--steps', '60', '--epochs', '9', '--checkpoint-every', '1', '--out', 'often', '--json'];
    for (const step of [2, 9, 17, 30, 44]) {
      const resume = step === 2 ? common : ['train', '--resume'];
      const { child, ended, said } = start([...resume, ...flags]);
      await said(`"type":"checkpoint","step":${step},`);
      child.kill('SIGKILL');
      await ended;
    }
    const { code } = await run(['train', '--resume', '--out', 'often', '--quiet']);
    expect(code).toBe(0);
    expect(stepsOf(jsonLines(read('often', 'metrics.jsonl')))).toEqual(upTo(60));
  });

  it('a run that is complete stays as it is', async () => {
    const before = read('killed', 'summary.json');
    const { code, stderr } = await run(['train', '--resume', '--out', 'killed']);
    expect(code).toBe(0);
    expect(stderr).toContain('nothing left to do');
    expect(read('killed', 'summary.json')).toBe(before);
  });

  it('asked for fewer steps than it has keeps its config, so that it can go on as before', async () => {
    const before = read('killed', 'config.json');
    const { code, stderr } = await run(['train', '--resume', '--out', 'killed', '--steps', '1']);
    expect([code, read('killed', 'config.json')]).toEqual([0, before]);
    expect(stderr).toContain('nothing left to do');
  });

  it('of what is no run is refused as such', async () => {
    const { code, stderr } = await run(['train', '--resume', '--out', 'nothing']);
    expect([code, stderr]).toEqual([2, expect.stringContaining('there is no run in nothing to resume')]);
  });

  it('refuses other options than those of the run, and keeps its config', async () => {
    const before = read('killed', 'config.json');
    const { code, stderr } = await run(['train', '--resume', '--out', 'killed', '--batch-size', '5']);
    expect(code).toBe(1);
    expect(stderr).toContain('CKPT_MISMATCH');
    expect(read('killed', 'config.json')).toBe(before);
  });
});
