// Tests how commands read images: sizes, splits, masks, notes, and errors that name flags the command has.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { completeCommand } from '../../src/cli/commands/complete.js';
import { trainCommand } from '../../src/cli/commands/train.js';
import { errorText } from '../../src/cli/help.js';
import { encodePng } from '../../src/data/png.js';
import { decodePng } from '../../src/index.js';
import { testFolder, tiny } from './run-cli.js';

const { run, path, read } = testFolder();
const small = [...tiny, '--batch-size', '4', '--samples', '0', '--device', 'cpu'];

function write(name: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path(name)), { recursive: true });
  writeFileSync(path(name), bytes);
}
const grey = (width: number, height: number, value: (x: number, y: number) => number) =>
  encodePng({
    data: Uint8Array.from({ length: width * height }, (_, i) => value(i % width, Math.floor(i / width))),
    width,
    height,
    channels: 1,
  });
/** RGBA of 8x8: [grey, alpha] of each pixel. */
const rgba = (value: (x: number, y: number) => readonly [number, number]) =>
  encodePng({
    data: Uint8Array.from({ length: 256 }, (_, i) => {
      const pixel = i >> 2;
      return value(pixel % 8, pixel >> 3)[i % 4 === 3 ? 1 : 0] as number;
    }),
    width: 8,
    height: 8,
    channels: 4,
  });

beforeAll(async () => {
  for (let i = 0; i < 12; i += 1)
    write(
      `flat/${i}.png`,
      grey(8, 8, (x, y) => ((x + 8 * y) * (i + 1)) % 256),
    );
  for (let i = 0; i < 10; i += 1) {
    const create = {
      width: 20 + 3 * i,
      height: 30 - i,
      channels: 3 as const,
      background: { r: 20 * i, g: 9, b: 99 },
    };
    const jpeg = await sharp({ create })
      .withMetadata({ orientation: 1 + (i % 8) })
      .jpeg()
      .toBuffer();
    write(`photos/${i < 6 ? 'train' : i < 8 ? 'val' : 'test'}/${i}.jpg`, jpeg);
  }
  const { code, stderr } = await run([
    'train',
    '--data',
    'flat',
    '--steps',
    '2',
    '--out',
    'flat-run',
    '--quiet',
    ...small,
  ]);
  expect([code, stderr]).toEqual([0, '']);
});

describe('photographs of different sizes and orientations', () => {
  it('are trained, evaluated and completed with --resize, and told what was done', async () => {
    const data = ['--data', 'photos', '--validation', 'photos:val', '--test', 'photos:test'];
    const { code, stderr } = await run([
      'train',
      ...data,
      '--resize',
      '8x6',
      '--steps',
      '2',
      '--out',
      'p',
      ...small,
    ]);
    expect(code).toBe(0);
    expect(stderr).toContain('photos: took the split train of it; photos:test and photos:val are left out\n');
    expect(stderr).toContain('photos: turned as the EXIF orientation says: 5 of 6 images\n');
    expect(stderr).toContain(
      'photos:val: resized from various sizes to 8x6 (width x height, cover): all 2 images\n',
    );
    expect(stderr).toContain('photos: 6 images of 6x8x3\n');
    const model = 'p/model.safetensors';
    const sized = ['--resize', '8x6', '--fit', 'contain', '--background', '0', '--device', 'cpu'];
    const evaluated = await run(['evaluate', model, '--data', 'photos:test', ...sized, '--json']);
    expect(JSON.parse(evaluated.stdout)).toMatchObject({
      images: 2,
      notes: [
        'turned as the EXIF orientation says: 1 of 2 images',
        'resized from various sizes to 8x6 (width x height, contain, padded with black): all 2 images',
      ],
    });
    const completed = await run([
      'complete',
      model,
      '--images',
      'photos:test',
      '--count',
      '1',
      ...sized,
      '--json',
    ]);
    expect(JSON.parse(completed.stdout)).toMatchObject({ height: 6, width: 8, channels: 3, count: 1 });
  });

  it('the start record of train has the notes, config.json the options to resume with', async () => {
    const flags = ['--resize', '8', '--fit', 'fill', '--crops', '1', '--steps', '2', '--out', 'q', ...small];
    const refused = await run(['train', '--data', 'photos', ...flags]);
    expect(refused.stderr).toContain(
      "--crops are cut from the image at full resolution, so --fit 'fill' has nothing to do",
    );
    const { stdout } = await run([
      'train',
      '--data',
      'photos',
      ...flags.slice(0, 2),
      '--crops',
      '2',
      ...flags.slice(6),
      '--background=#ff8000',
      '--json',
    ]);
    const start = JSON.parse(stdout.split('\n')[0] as string) as { notes: { data: string[] } };
    expect(start.notes.data).toContain('cut into 2 crops of 8x8 each: 12 crops of 6 images');
    const config = JSON.parse(read('q', 'config.json')) as object;
    expect(config).toMatchObject({ resize: { width: 8, height: 8 }, crops: 2, background: [255, 128, 0] });
    const resumed = await run(['train', '--resume', '--out', 'q', '--steps', '3', '--quiet']);
    expect([resumed.code, resumed.stderr]).toEqual([0, '']);
  });

  it('without a size the error names flags that there are, and they help', async () => {
    const { code, stderr } = await run(['train', '--data', 'photos', '--steps', '1', '--out', 'r', ...small]);
    expect(code).toBe(1);
    expect(stderr).toContain('fix: bring all images to one form with --resize\n');
    for (const command of ['train', 'evaluate', 'complete']) {
      const { stdout } = await run([command, '--help']);
      for (const flag of [
        '--resize',
        '--fit',
        '--crops',
        '--background',
        '--channels',
        '--values',
        '--png-limits',
      ])
        expect(stdout).toContain(`\n  ${flag} `);
    }
  });

  it.each([
    [['--resize', '8*8'], '--resize: must be a size such as 32 or 64x48'],
    [['--resize', '0x8'], "--resize width: Too small: expected number to be >=1, got '0x8'"],
    [['--fit', 'cover'], '--fit says how --resize does it'],
    [['--crops', '2'], 'give it as --resize'],
    [['--values', 'levels', '--resize', '8'], 'leave out --resize, or cut pieces of that size with --crops'],
    [['--png-limits', 'maxSide=0'], '--png-limits maxSide: Too small'],
    [['--png-limits', 'maxSids=9'], "did you mean 'maxSide'"],
  ])('%j is refused', async (flags, message) => {
    const { code, stderr } = await run([
      'train',
      '--data',
      'flat',
      '--steps',
      '1',
      '--out',
      'r',
      ...small,
      ...flags,
    ]);
    expect(code).not.toBe(0);
    expect(stderr).toContain(message);
  });

  it('limits of PNG files are named as the flag that sets them, which then helps', async () => {
    const evaluate = (...flags: string[]) =>
      run(['evaluate', 'flat-run', '--data', 'flat', '--device', 'cpu', ...flags]);
    const { code, stderr } = await evaluate('--png-limits', 'maxSide=7');
    expect([code, stderr]).toEqual([
      1,
      expect.stringContaining('8x8 pixels in flat/0.png, but maxSide is 7\n'),
    ]);
    expect(stderr).toContain("raise the limit: --png-limits 'maxSide=8'\n");
    expect((await evaluate('--png-limits', 'maxSide=8')).code).toBe(0);
    write('strict/0.png', Buffer.concat([grey(8, 8, (x) => x * 30), Buffer.alloc(3)]));
    const strict = await run(['evaluate', 'flat-run', '--data', 'strict', '--png-limits', 'strict=true']);
    expect(strict.stderr).toContain("fix: leave out --png-limits 'strict=true'\n");
    for (const text of [stderr, strict.stderr]) expect(text).not.toMatch(/loadImages|decodePng|pngLimits|`/);
  });

  it('a split that is not there is refused, and nothing is trained', async () => {
    const { code, stderr } = await run([
      'train',
      '--data',
      'flat',
      '--test',
      'flat:test',
      '--steps',
      '1',
      '--out',
      'r',
      ...small,
    ]);
    expect(code).toBe(1);
    expect(stderr).toContain("flat has no split 'test'");
    expect(stderr).toContain('ERR_NO_SPLIT');
  });

  it('crops are called crops wherever they are counted', async () => {
    const crops = ['--resize', '4', '--crops', '3'];
    const flags = [...crops, '--test', 'flat', '--test-limit', '5', '--validation', '0.1', '--steps', '1'];
    const trained = await run(['train', '--data', 'flat', ...flags, '--out', 'crops', ...small]);
    expect(trained.code).toBe(0);
    for (const line of [
      /flat: cut into 3 crops of 4x4 each: 36 crops of 12 images\n/,
      /flat: 36 crops of 4x4x1 from 12 images\n/,
      /validation: 3 held out, 10 % of 36 crops of 12 images\n/,
      /test \d.*, first 15 of 36 crops of 12 images, raw weights\n/,
    ])
      expect(trained.stderr).toMatch(line);
    const { test } = JSON.parse(read('crops', 'summary.json')) as { test: object };
    expect(test).toMatchObject({ images: 15, of: 36, crops: 3 });
    const evaluate = (...more: string[]) =>
      run(['evaluate', 'crops', '--data', 'flat', '--device', 'cpu', ...crops, ...more]);
    const { stdout } = await evaluate();
    expect(stdout).toMatch(/crops +36 +3 of each image, flat, 4x4x1\n/);
    expect(stdout).toMatch(/nats +\S+ +per crop/);
    expect(JSON.parse((await evaluate('--json')).stdout)).toMatchObject({ images: 36, crops: 3 });
    const whole = await run(['evaluate', 'flat-run', '--data', 'flat', '--device', 'cpu', '--json']);
    expect(JSON.parse(whole.stdout)).toMatchObject({ images: 12, crops: null });
  });

  it('validation on a share of crops is warned of', async () => {
    const flags = ['--data', 'flat', '--steps', '1', ...small];
    const crops = await run(['train', ...flags, '--resize', '4', '--crops', '3', '--out', 's']);
    expect(crops.stderr).toContain('validation holds out crops');
    const none = await run(['train', ...flags, '--resize', '4', '--crops', '1', '--out', 't']);
    expect([none.code, none.stderr.includes('holds out crops')]).toEqual([0, false]);
  });
});

describe('names of options in errors', () => {
  it('are flags of the command that runs, or stay as they are', () => {
    expect(errorText('use `limit` or `pngLimits`', trainCommand as never)).toBe(
      'use --limit or --png-limits',
    );
    expect(errorText('use `limit` or `noSuchOption`', completeCommand as never)).toBe(
      'use --count or `noSuchOption`',
    );
    expect(errorText('`limit`', undefined)).toBe('`limit`');
    expect(errorText('`pixelcnn train --help` lists', trainCommand as never)).toBe(
      '`pixelcnn train --help` lists',
    );
  });
});

describe('the mask of complete', () => {
  const complete = (mask: string, ...more: string[]) => {
    const images = [
      '--images',
      'flat/3.png',
      '--completions',
      '1',
      '--seed',
      '1',
      '--scale',
      '1',
      '--out',
      'c.png',
      '--device',
      'cpu',
    ];
    return run(['complete', 'flat-run/model.safetensors', ...images, '--mask', mask, ...more]);
  };
  /** Which pixels the grid shows as known: those where its second column has the bytes of the first. */
  const hiddenPixels = () => {
    const grid = decodePng(readFileSync(path('c.png')));
    const at = (column: number, x: number, y: number) =>
      grid.data[(2 + y) * grid.width + 2 + 10 * column + x];
    return Array.from({ length: 64 }, (_, i) => at(1, i % 8, i >> 3) === 96).map((hidden) =>
      hidden ? 1 : 0,
    );
  };
  const lowerHalf = Array.from({ length: 64 }, (_, i) => (i >= 32 ? 1 : 0));

  it.each([
    ['white where known', grey(8, 8, (_, y) => (y < 4 ? 255 : 0)), false],
    ['opaque where known', rgba((_, y) => [255, y < 4 ? 255 : 0]), true],
    ['opaque where known, with a picture in it', rgba((x, y) => [x * 30, y < 4 ? 255 : 0]), true],
    ['an alpha channel that is opaque', rgba((_, y) => [y < 4 ? 255 : 0, 255]), false],
    ['one alpha byte of 254', rgba((x, y) => [y < 4 ? 250 : 3, x + y === 14 ? 254 : 255]), false],
    ['an alpha channel that is nearly opaque', rgba((x, y) => [y < 4 ? 255 : 0, 128 + 8 * x]), false],
    ['a soft alpha channel', rgba((_, y) => [255, 240 - 32 * y]), true],
  ])('%s', async (_, bytes, alpha) => {
    write('mask.png', bytes);
    const { code, stderr } = await complete('mask.png');
    expect(code).toBe(0);
    expect(stderr.includes('mask.png: its alpha channel is the mask, transparent pixels are drawn')).toBe(
      alpha,
    );
    expect(stderr).not.toMatch(/every pixel is known|no pixel is known/);
    expect(hiddenPixels()).toEqual(lowerHalf);
  });

  it.each([
    ['white throughout', grey(8, 8, () => 255), 'every pixel is known, nothing is to be drawn', 0],
    ['black throughout', grey(8, 8, () => 0), 'no pixel is known, whole images are drawn', 1],
    ['transparent throughout', rgba(() => [255, 0]), 'no pixel is known, whole images are drawn', 1],
  ])('%s is told', async (_, bytes, note, hidden) => {
    write('same.png', bytes);
    const { code, stderr } = await complete('same.png');
    expect([code, stderr.includes(`same.png: ${note}\n`)]).toEqual([0, true]);
    expect(hiddenPixels()).toEqual(Array(64).fill(hidden));
  });

  it('follows the images: their size, with the same --resize', async () => {
    write(
      'large.png',
      grey(16, 16, (_, y) => (y < 8 ? 255 : 0)),
    );
    const { code } = await complete('large.png', '--resize', '8');
    expect(code).toBe(0);
    expect(hiddenPixels()).toEqual(lowerHalf);
  });

  it.each([
    [
      'colour and alpha that contradict',
      rgba((_, y) => [y < 4 ? 255 : 0, y < 6 ? 255 : 0]),
      'black, to be drawn by colour, and opaque',
    ],
    [
      'black paint on nothing',
      rgba((_, y) => [0, y < 4 ? 255 : 0]),
      'black, to be drawn by colour, and opaque',
    ],
    [
      'nearly black and white with a stray transparent pixel',
      rgba((x, y) => [y < 4 ? 250 : 3, x + y === 14 ? 0 : 255]),
      'black, to be drawn by colour, and opaque',
    ],
    ['0 and 1', grey(8, 8, (_, y) => (y < 4 ? 1 : 0)), 'has no white pixel, its brightest is 1 of 255'],
  ])('%s is refused', async (_, bytes, message) => {
    write('bad.png', bytes);
    const { code, stderr } = await complete('bad.png');
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).toContain('ERR_MASK');
  });

  it('of several images or another size is refused', async () => {
    const several = await complete('flat');
    expect(several.stderr).toContain('flat holds 12 images, a mask is one image of 8x8');
    write(
      'wide.png',
      grey(9, 8, () => 255),
    );
    expect((await complete('wide.png')).stderr).toContain('wide.png is 8x9, a mask is one image of 8x8');
  });
});
