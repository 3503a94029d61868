// Tests how many test images `pixelcnn train` evaluates, whether it does, and what an interruption leaves.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { encodePng } from '../../src/data/png.js';
import { images, testFolder } from './run-cli.js';

const { run, start, path, read } = testFolder();
const train = [...images, '--batch-size', '10', '--samples', '0', '--steps', '2', '--device', 'cpu'];
const preset = ['train', '--preset', 'mnist-demo', '--limit', '20', '--validation', '0', '--steps', '1'];
const fast = ['--hidden-channels', '4', '--layers', '2', '--samples', '0', '--device', 'cpu'];
const summaryOf = (out: string) => JSON.parse(read(out, 'summary.json')) as Record<string, unknown>;

describe('--test-limit', () => {
  it('evaluates the first images, and the number stands beside the result', async () => {
    const { code, stderr } = await run([
      ...train,
      '--test',
      'mnist:test',
      '--test-limit',
      '30',
      '--out',
      'few',
    ]);
    expect(code).toBe(0);
    expect(stderr).toMatch(/test \d\.\d{4} bits\/dim \(\d+\.\d\d nats\), first 30 of 10,000 images/);
    expect(summaryOf('few').test).toMatchObject({ data: 'mnist:test', images: 30, of: 10_000 });
    // The same images as those that evaluate takes.
    const alone = ['evaluate', 'few/model.safetensors', '--data', 'mnist:test', '--limit', '30', '--json'];
    const { nats } = JSON.parse((await run([...alone, '--device', 'cpu'])).stdout) as { nats: number };
    expect((summaryOf('few').test as { nats: number }).nats).toBe(nats);
  });

  it('above the number of images is no limit', async () => {
    const flags = ['--test', path('few', 'curve.svg').replace('curve.svg', 'grid'), '--test-limit', '9'];
    const sampled = await run([
      'sample',
      'few/model.safetensors',
      '--count',
      '1',
      '--out',
      'few/grid/one.png',
    ]);
    expect(sampled.code).toBe(0);
    const grid = await run([
      ...train,
      '--data',
      path('few', 'grid'),
      '--validation',
      '0',
      ...flags,
      '--out',
      'all',
    ]);
    expect(grid.stderr).toMatch(/test .*\), 1 images/);
    expect(summaryOf('all').test).toMatchObject({ images: 1, of: 1 });
  });

  it('without --test is a mistake', async () => {
    const { code, stderr } = await run([...train, '--test-limit', '5', '--out', 'mistake']);
    expect([code, existsSync(path('mistake'))]).toEqual([2, false]);
    expect(stderr).toContain('--test-limit 5 needs --test');
  });
});

describe('--no-test', () => {
  it('leaves out the test images of a preset, as does false in a config file', async () => {
    writeFileSync(path('config.json'), '{"test": false}');
    for (const [out, flags] of [
      ['flag', ['--no-test']],
      ['file', ['--config', 'config.json']],
    ] as const) {
      const { code, stderr } = await run([...preset, ...fast, ...flags, '--out', out]);
      expect([code, stderr.includes('\ntest ')]).toEqual([0, false]);
      expect(summaryOf(out)).not.toHaveProperty('test');
      expect(JSON.parse(read(out, 'config.json'))).toMatchObject({ test: false });
    }
  });

  it('stays so when the run is resumed, until other images are named', async () => {
    const same = await run(['train', '--resume', '--out', 'flag', '--steps', '2']);
    expect([same.code, same.stderr.includes('\ntest ')]).toEqual([0, false]);
    const flags = ['--steps', '3', '--test', 'mnist:test', '--test-limit', '10'];
    const other = await run(['train', '--resume', '--out', 'flag', ...flags]);
    expect(other.stderr).toContain('first 10 of 10,000 images');
  });

  it('takes no value, --test needs one, and a slip of the pen is understood', async () => {
    for (const [flag, text] of [
      ['--no-test=yes', 'unknown option'],
      ['--test', '--test needs a value'],
      ['--no-tets', "did you mean '--no-test'"],
    ] as const) {
      const { code, stderr } = await run([...train, flag]);
      expect([code, stderr]).toEqual([2, expect.stringContaining(text)]);
    }
  });
});

describe('a split that nobody named', () => {
  it('is refused as test and as validation images, with the way to name it', async () => {
    for (const [flag, split] of [
      ['test', 'test'],
      ['validation', 'val'],
    ] as const) {
      const { code, stderr } = await run([...train, `--${flag}`, 'mnist', '--out', 'unnamed']);
      expect([code, existsSync(path('unnamed'))]).toEqual([2, false]);
      expect(stderr).toContain(`--${flag} mnist: it has splits, and none is named`);
      expect(stderr).toContain(`fix: say which: --${flag} mnist:${split}`);
    }
  });

  it('stands beside the number of evaluate', async () => {
    for (const [data, split] of [
      ['mnist', 'train'],
      ['mnist:test', 'test'],
    ] as const) {
      const { stdout } = await run(['evaluate', 'few', '--data', data, '--limit', '5', '--json']);
      expect(JSON.parse(stdout)).toMatchObject({ data, split, images: 5, height: 28, width: 28 });
    }
    expect(summaryOf('few').test).toMatchObject({ split: 'test' });
  });
});

describe('an interrupted test evaluation', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('by %s leaves the model and a summary, which --resume completes', async (signal, expected) => {
    const flags = ['--test', 'mnist:train', '--json', '--out', signal];
    const { child, ended, said } = start([...train, ...flags]);
    await said('"type":"testing"');
    child.kill(signal);
    const { code, stdout } = await ended;
    expect(code).toBe(expected);
    expect(existsSync(path(signal, 'model.safetensors'))).toBe(true);
    const summary = summaryOf(signal);
    expect(summary).toMatchObject({
      steps: 2,
      stopped: false,
      test: null,
      interrupted: `test evaluation interrupted by ${signal}`,
    });
    expect(stdout).toContain('"type":"summary"');

    const resumed = await run(['train', '--resume', '--out', signal, '--test-limit', '20']);
    expect(resumed.code).toBe(0);
    const { interrupted: _, test: __, ...same } = summary;
    expect(summaryOf(signal)).toEqual({ ...same, test: expect.objectContaining({ images: 20, of: 60_000 }) });
  });

  it('is none for images that the model cannot take: they are refused before training', async () => {
    mkdirSync(path('colour'));
    const picture = { width: 8, height: 8, channels: 3 as const, data: new Uint8Array(192).fill(7) };
    writeFileSync(path('colour', 'a.png'), encodePng(picture));
    const { code, stderr } = await run([...train, '--test', 'colour', '--out', 'refused']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/the model has 1 channels, the images have 3\n {2}ERR_IMAGE_CHANNELS\n$/);
    expect(existsSync(path('refused'))).toBe(false);
  });

  it('is one that fails, too: the error comes last', async () => {
    // The network takes images of at most 16,384 pixels on a side.
    const header = Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0x40, 1, 0, 0, 0, 1);
    writeFileSync(path('long-idx3-ubyte'), Buffer.concat([header, new Uint8Array(16_385).fill(9)]));
    const { code, stderr } = await run([...train, '--test', 'long-idx3-ubyte', '--out', 'failed']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/test evaluation failed: .*; the model is saved\n[\s\S]*\n {2}ERR_\w+\n$/);
    expect(existsSync(path('failed', 'model.safetensors'))).toBe(true);
    expect(summaryOf('failed')).toMatchObject({
      test: null,
      interrupted: expect.stringContaining('test evaluation failed'),
    });
  });

  it('is told on stderr, with where the model is', async () => {
    const { child, ended } = start([...train, '--test', 'mnist:train', '--out', 'told']);
    let [text, interrupted] = ['', false];
    child.stderr!.on('data', (part: Buffer) => {
      text += part;
      if (interrupted || !/evaluating mnist:train: [\d,]+ of 60,000 images {2}\d+%/.test(text)) return;
      interrupted = child.kill('SIGINT');
    });
    const { code, stderr } = await ended;
    expect(code).toBe(130);
    expect(stderr).toMatch(
      /test evaluation interrupted by SIGINT; the model is saved\n.*told\/model.safetensors\n$/,
    );
  });
});
