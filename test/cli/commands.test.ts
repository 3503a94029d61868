// Tests the commands beside train: what they write, print and promise with --json.
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { encodePng } from '../../src/data/png.js';
import { decodePng } from '../../src/index.js';
import { testFolder, tiny } from './run-cli.js';

const { run, path } = testFolder();
const model = 'run/model.safetensors';

beforeAll(async () => {
  const flags = [
    '--steps',
    '4',
    '--batch-size',
    '4',
    '--limit',
    '16',
    '--samples',
    '0',
    '--out',
    'run',
    '--quiet',
  ];
  const { code, stderr } = await run(['train', '--data', 'mnist', ...tiny, ...flags]);
  expect([code, stderr]).toEqual([0, '']);
});

async function json(args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await run([...args, '--json']);
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Record<string, unknown>;
}

const png = (name: string) => decodePng(readFileSync(path(name)));

describe('sample', () => {
  it('writes a grid and single images; the seed decides', async () => {
    const flags = ['--seed', '7', '--scale', '1'];
    const result = await json([
      'sample',
      model,
      '--count',
      '5',
      '--out',
      'new/grid.png',
      '--separate',
      'one',
      ...flags,
    ]);
    expect(result).toMatchObject({ count: 5, height: 28, width: 28, channels: 1, seed: 7 });
    expect(png('new/grid.png')).toMatchObject({ width: 3 * 30 + 2, height: 2 * 30 + 2 });
    expect(readdirSync(path('one'))).toEqual([
      '00000.png',
      '00001.png',
      '00002.png',
      '00003.png',
      '00004.png',
    ]);
    await json([
      'sample',
      '--model',
      model,
      '--count',
      '1',
      '--first-index',
      '3',
      '--separate',
      'again',
      ...flags,
    ]);
    expect(png('again/00003.png')).toEqual(png('one/00003.png'));
  });

  it('refuses a grid that is too large before it draws anything', async () => {
    const flags = ['--count', '65536', '--height', '512', '--width', '512', '--separate', 'none'];
    const { code, stderr } = await run(['sample', model, ...flags]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/a grid of \d+x\d+x1 bytes exceeds/);
    expect(stderr).not.toContain('sampling');
    expect(existsSync(path('none'))).toBe(false);
  });

  it('has written the single images when the grid cannot be written', async () => {
    mkdirSync(path('folder.png'));
    const flags = ['--count', '2', '--separate', 'kept', '--out', 'folder.png'];
    const { code, stderr } = await run(['sample', model, ...flags]);
    expect(code).toBe(1);
    expect(stderr).toContain('EISDIR');
    expect(readdirSync(path('kept'))).toEqual(['00000.png', '00001.png']);
  });

  it('draws a seed and tells which', async () => {
    const { code, stdout } = await run(['sample', model, '--count', '1', '--height', '8', '--width', '6']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^samples\.png: 1 images of 8x6, seed \d+, /);
  });
});

describe('complete', () => {
  it('keeps what is known and lays out original, known part and completions', async () => {
    const flags = [
      '--count',
      '2',
      '--completions',
      '3',
      '--keep',
      'left',
      '--fraction',
      '0.25',
      '--scale',
      '1',
    ];
    const result = await json(['complete', model, '--images', 'mnist:test', '--out', 'c.png', ...flags]);
    expect(result).toMatchObject({ count: 2, completions: 3 });
    const grid = png('c.png');
    expect([grid.width, grid.height]).toEqual([5 * 30 + 2, 2 * 30 + 2]);
    const pixel = (image: number, x: number, y: number) =>
      grid.data[(2 + y) * grid.width + 2 + image * 30 + x];
    for (let y = 0; y < 28; y += 1) {
      for (let x = 0; x < 7; x += 1)
        for (const image of [1, 2, 3, 4]) expect(pixel(image, x, y)).toBe(pixel(0, x, y));
      expect(pixel(1, 7, y)).toBe(96);
    }
  });

  it('refuses a grid that is too large before it completes anything', async () => {
    const flags = ['--images', 'mnist:test', '--count', '200', '--completions', '1024', '--scale', '2'];
    const { code, stderr } = await run(['complete', model, ...flags]);
    expect(code).toBe(1);
    expect(stderr).toMatch(/a grid of \d+x\d+x1 bytes exceeds/);
    expect(stderr).not.toContain('completing');
  });

  it('takes a mask, of the size of the images', async () => {
    const mask = { data: new Uint8Array(28 * 28).fill(255), width: 28, height: 28, channels: 1 };
    writeFileSync(path('all.png'), encodePng(mask));
    writeFileSync(path('small.png'), encodePng({ ...mask, data: mask.data.subarray(28), height: 27 }));
    const images = [
      '--images',
      'mnist:test',
      '--count',
      '1',
      '--completions',
      '1',
      '--scale',
      '1',
      '--out',
      'm.png',
    ];
    await json(['complete', model, '--mask', 'all.png', ...images]);
    const { data, width } = png('m.png');
    const image = (i: number) =>
      Array.from({ length: 28 }, (_, y) => [
        ...data.subarray((2 + y) * width + 2 + 30 * i, (2 + y) * width + 30 * (i + 1)),
      ]);
    expect(image(2)).toEqual(image(0));
    const { code, stderr } = await run(['complete', model, '--mask', 'small.png', ...images]);
    expect(code).toBe(1);
    expect(stderr).toContain('small.png is 27x28');
  });
});

describe('evaluate', () => {
  const data = ['--data', 'mnist:test', '--limit', '20'];

  it('prints nats, bits per dimension, protocol and weights', async () => {
    const { code, stdout, stderr } = await run(['evaluate', model, ...data]);
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^nats +\d+\.\d+ +per image\nbits\/dim +\d\.\d+\nimages +20 [\s\S]*\nprotocol +levels\nweights +raw +run\/model\.safetensors\n$/,
    );
    expect(stderr).toContain('device cpu');
    const result = await json(['evaluate', model, ...data]);
    expect(result).toMatchObject({ images: 20, protocol: 'levels', weights: 'raw', draws: 1 });
    expect(result.bitsPerDim).toBeCloseTo((result.nats as number) / (784 * Math.LN2), 10);
  });

  it('refuses a protocol that the model cannot have', async () => {
    const { code, stderr } = await run(['evaluate', model, ...data, '--protocol', 'dynamic']);
    expect(code).toBe(1);
    expect(stderr).toContain('needs a model of 2 levels');
  });
});

describe('inspect', () => {
  it('shows configuration, parameters, tensors and checksum of a model', async () => {
    const result = await json(['inspect', model]);
    // Live weights: 8*1*12 (A), 8*8*13 (B), 4*8*1; biases 8, 8, 4.
    expect(result).toMatchObject({
      checksum: 'ok',
      config: { channels: 1, hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 5 },
      imageSize: { height: 28, width: 28 },
      parameters: { total: 200 + 1600 + 32 + 20, live: 96 + 832 + 32 + 20 },
      training: null,
    });
    expect(result.tensors).toHaveLength(6);
  });

  it('shows the training state of a checkpoint, and other safetensors files too', async () => {
    const checkpoint = 'run/checkpoints/step-00000004.safetensors';
    const { stdout } = await run(['inspect', checkpoint]);
    expect(stdout).toMatch(/training +step 4, /);
    expect(stdout).not.toContain('[object');
    expect(stdout).toMatch(/numerics +sums version \d+, backend cpu, instruction set \w+, precision f32, /);
    expect(stdout).toMatch(/net\.2\.weight +F32 +\[8, 8, 5, 5\] +1,600 +832/);
    const header = Buffer.from('{"w":{"dtype":"F64","shape":[2],"data_offsets":[0,16]}}');
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(header.length));
    writeFileSync(path('other.safetensors'), Buffer.concat([length, header, Buffer.alloc(16)]));
    expect(await json(['inspect', 'other.safetensors'])).toMatchObject({
      checksum: 'none',
      config: null,
      tensors: [{ name: 'w', dtype: 'F64', shape: [2], elements: 2 }],
    });
  });

  it('reads what loading would read: regular files of a bounded size', async () => {
    writeFileSync(path('huge.safetensors'), '');
    truncateSync(path('huge.safetensors'), 2 ** 32);
    for (const [name, errorCode] of [
      ['.', 'ERR_NO_MODEL'],
      ['huge.safetensors', 'ERR_LIMIT'],
      ['nowhere', 'ENOENT'],
    ] as const) {
      const { code, stderr } = await run(['inspect', name]);
      expect(code, name).toBe(1);
      expect(stderr).toContain(errorCode);
    }
  });

  it('reports a damaged file', async () => {
    const bytes = readFileSync(path(model));
    bytes[bytes.length - 1] = bytes[bytes.length - 1]! ^ 1;
    writeFileSync(path('damaged.safetensors'), bytes);
    const { code, stderr } = await run(['inspect', 'damaged.safetensors']);
    expect(code).toBe(1);
    expect(stderr).toContain('CKPT_CHECKSUM');
  });
});

describe('doctor', () => {
  it('finds this machine healthy and says why CUDA is not used', async () => {
    const { healthy, findings } = await json(['doctor']);
    expect(healthy).toBe(true);
    const names = (findings as { name: string }[]).map(({ name }) => name);
    expect(names).toEqual(
      expect.arrayContaining([
        'node',
        'platform',
        'binary',
        'addon',
        'cpu',
        'gpu 0',
        'cudnn',
        'convolution',
        'sampling',
      ]),
    );
  });

  it('says what is wrong and exits with 1', async () => {
    const { code, stdout } = await run(['doctor'], { PIXELCNN_CPU_ISA: 'none-such' });
    expect(code).toBe(1);
    expect(stdout).toMatch(/✗ cpu [\s\S]*\n +fix: /);
  });
});

describe('bench', () => {
  it('measures training, both forward passes and sampling', async () => {
    const small = ['--seconds', '0.01', '--batch', '2', '--height', '12', '--width', '12'];
    const { results } = await json(['bench', ...tiny, ...small]);
    const timings = results as { name: string; batch: number; milliseconds: number; repeats: number }[];
    expect(timings.map(({ name, batch }) => `${name} ${batch}`)).toEqual([
      'training step, auto 2',
      'forward, direct 2',
      'forward, winograd 2',
      'sampling 1',
      'sampling 2',
    ]);
    for (const { milliseconds, repeats } of timings) {
      expect(milliseconds).toBeGreaterThan(0);
      expect(repeats).toBeGreaterThanOrEqual(3);
    }
  });
});
