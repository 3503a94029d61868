// Tests masks of 0 and 1 and label maps on the command line: they are refused until an option says what they are.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { decodePng, encodePng } from '../../src/data/png.js';
import { TestRandom } from '../helpers/random.js';
import { testFolder } from './run-cli.js';

const { run, path } = testFolder();
const small = ['--hidden-channels', '4', '--layers', '3', '--kernel-size', '3', '--device', 'cpu'];
const train = [
  'train',
  '--data',
  'masks',
  '--levels',
  '2',
  '--batch-size',
  '8',
  '--validation',
  '0.2',
  ...small,
];
const json = async (args: readonly string[]) => {
  const { code, stdout, stderr } = await run([...args, '--json']);
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Record<string, unknown>;
};

beforeAll(() => {
  const random = new TestRandom(1);
  for (const name of ['masks', 'grey']) mkdirSync(path(name));
  for (let i = 0; i < 40; i += 1) {
    const data = Uint8Array.from({ length: 64 }, () => random.int(0, 1));
    writeFileSync(path('masks', `${i}.png`), encodePng({ data, width: 8, height: 8, channels: 1 }));
    writeFileSync(
      path('grey', `${i}.png`),
      encodePng({ data: data.map((x) => 255 * x), width: 8, height: 8, channels: 1 }),
    );
  }
});

describe('masks of 0 and 1', () => {
  it('are refused, with the flag that says what they are, before a run folder is made', async () => {
    const { code, stderr } = await run([...train, '--steps', '2', '--out', 'refused']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/the largest value is 1, below the 2 levels of the model/);
    expect(stderr).toMatch(
      /fix: say with --values what they are: levels for levels, bytes for very dark images/,
    );
    expect(stderr).toContain('ERR_IMAGE_VALUES');
  });

  it('as levels are trained, drawn, completed and evaluated, and shown black and white', async () => {
    const length = [
      '--epochs',
      '30',
      '--learning-rate',
      '0.01',
      '--samples',
      '4',
      '--test',
      'masks',
      '--out',
      'run',
    ];
    const { code, stderr } = await run([...train, ...length, '--values', 'levels']);
    expect([code, stderr]).toEqual([0, expect.any(String)]);
    // Fair coins: one bit each.
    const summary = JSON.parse(readFileSync(path('run', 'summary.json'), 'utf8')) as {
      test: { bitsPerDim: number };
    };
    expect(Math.abs(summary.test.bitsPerDim - 1)).toBeLessThan(0.1);

    const evaluated = await json(['evaluate', 'run', '--data', 'masks']);
    expect(evaluated).toMatchObject({ bitsPerDim: summary.test.bitsPerDim });
    await json([
      'sample',
      'run',
      '--count',
      '4',
      '--seed',
      '1',
      '--separate',
      'each',
      '--out',
      's.png',
      '--scale',
      '1',
    ]);
    await json([
      'complete',
      'run',
      '--images',
      'masks',
      '--count',
      '2',
      '--seed',
      '1',
      '--out',
      'c.png',
      '--scale',
      '1',
    ]);
    const bytesOf = (...parts: string[]) => {
      const counts = new Map<number, number>();
      for (const byte of decodePng(readFileSync(path(...parts))).data)
        counts.set(byte, (counts.get(byte) ?? 0) + 1);
      return counts;
    };
    for (const parts of [['s.png'], ['run', 'samples', 'epoch-001.png']]) {
      // Grey is the padding of the grid.
      expect(
        [...bytesOf(...parts).keys()].sort((a, b) => a - b),
        parts.join('/'),
      ).toEqual([0, 128, 255]);
      expect(bytesOf(...parts).get(255)).toBeGreaterThan(64);
    }
    expect([...bytesOf('each', '00000.png').keys()].sort((a, b) => a - b)).toEqual([0, 255]);
    // 96 is what is not known.
    expect([...bytesOf('c.png').keys()].sort((a, b) => a - b)).toEqual([0, 96, 128, 255]);
  });

  it('resume needs no flag, and images of the other kind are refused', async () => {
    const resumed = await run(['train', '--resume', '--out', 'run', '--epochs', '31']);
    expect([resumed.code, resumed.stderr]).toEqual([0, expect.stringMatching(/resumed at step 120/)]);
    const bytes = await run(['evaluate', 'run', '--data', 'grey', '--values', 'bytes']);
    expect(bytes.code).toBe(1);
    expect(bytes.stderr).toMatch(
      /the model was trained on levels, the images hold bytes\n {2}fix: .*--values/,
    );
    const grey = await run(['evaluate', 'run', '--data', 'grey']);
    expect([grey.code, grey.stderr]).toEqual([
      1,
      expect.stringMatching(/levels of this model are 0 to 1, image 0 has 255/),
    ]);
  });

  it('are refused by evaluate and complete of a model of bytes, which would see black images', async () => {
    const bytes = ['train', '--data', 'grey', '--levels', '2', '--batch-size', '8', '--steps', '2', ...small];
    expect((await run([...bytes, '--samples', '0', '--out', 'bytes', '--quiet'])).code).toBe(0);
    for (const args of [
      ['evaluate', 'bytes', '--data', 'masks'],
      ['complete', 'bytes', '--images', 'masks', '--count', '2', '--out', 'black.png'],
    ]) {
      const { code, stderr } = await run(args);
      expect([code, stderr]).toEqual([1, expect.stringContaining('ERR_IMAGE_VALUES')]);
    }
  });

  it('as bytes are what they say: all black', async () => {
    const length = ['--steps', '5', '--samples', '0', '--out', 'dark', '--values', 'bytes', '--quiet'];
    const { code, stderr } = await run([...train, ...length]);
    expect([code, stderr]).toEqual([0, '']);
  });
});
