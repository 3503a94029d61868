// Tests that folders and files of EMNIST are read upright, with the names of their classes and labels from 0.
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { emnistName, parseEmnistMapping, transposeImages } from '../../src/data/emnist.js';
import { checkImageBatch } from '../../src/data/image-batch.js';
import { loadImages } from '../../src/data/load-images.js';
import { encodePng } from '../../src/data/png.js';
import { codeOf } from '../helpers/damage.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-emnist-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function fill(files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
  }
}
const load = (name = '', spec: object = {}) => loadImages({ path: join(folder, name), ...spec });
const refused = (name = '', spec: object = {}) => expect(load(name, spec)).rejects;

/** Encodes images of 3 rows and 2 columns as EMNIST does: as 3 columns of 2, the header included. */
function imagesFile(...images: readonly (readonly number[])[]): Uint8Array {
  const columns = images.flatMap((rows) => [0, 2, 4, 1, 3, 5].map((i) => rows[i] as number));
  return Uint8Array.of(0, 0, 8, 3, 0, 0, 0, images.length, 0, 0, 0, 2, 0, 0, 0, 3, ...columns);
}
const labelsFile = (...labels: number[]) => Uint8Array.of(0, 0, 8, 1, 0, 0, 0, labels.length, ...labels);
const first = [1, 2, 3, 4, 5, 6];
const second = [11, 12, 13, 14, 15, 16];
const third = [21, 22, 23, 24, 25, 26];

/** The mapping of the set `letters` as it is published: labels 1 to 26, each a capital and a small letter. */
const lettersMapping = Array.from({ length: 26 }, (_, i) => `${i + 1} ${65 + i} ${97 + i}`).join('\n');
/** A mapping as that of the set `balanced`: a character each, and not every small letter. */
const balancedMapping = '0 48\r\n1 65\r\n2 97\r\n3 116\r\n';
const transposed = 'transposed, because EMNIST stores its images column by column';

const letters = () =>
  fill({
    'emnist-letters-train-images-idx3-ubyte.gz': gzipSync(imagesFile(first, second, third)),
    'emnist-letters-train-labels-idx1-ubyte.gz': gzipSync(labelsFile(1, 26, 3)),
    'emnist-letters-test-images-idx3-ubyte': imagesFile(second),
    'emnist-letters-test-labels-idx1-ubyte': labelsFile(2),
    'emnist-letters-mapping.txt': lettersMapping,
  });

describe('a folder of EMNIST', () => {
  it('is read as it is: upright, with letters for names and labels from 0', async () => {
    await letters();
    const images = await load('', { split: 'train' });
    checkImageBatch(images, 'images');
    const { data, count, height, width, channels } = images;
    expect([count, height, width, channels]).toEqual([3, 3, 2, 1]);
    expect([...data]).toEqual([...first, ...second, ...third]);
    expect(images.labels).toEqual(Uint8Array.of(0, 25, 2));
    expect(images.classNames).toEqual([...'ABCDEFGHIJKLMNOPQRSTUVWXYZ']);
    expect(images.notes).toEqual([
      transposed,
      'classes by emnist-letters-mapping.txt: 26 (A, B, C, D, E, F, G, H, I, J, …)',
      'labels 1 to 26 of the file became 0 to 25',
      'classes of more than one character, named after the first: A and a, B and b, C and c, …',
    ]);
  });

  it('has the splits train and test, takes limit and offset, and may be read without labels', async () => {
    await letters();
    const test = await loadImages(`${folder}:test`);
    expect([[...test.data], [...(test.labels ?? [])], test.split]).toEqual([second, [1], 'test']);
    const unasked = await load();
    expect([unasked.count, unasked.notes[0]]).toEqual([
      3,
      `took the split train of it; ${folder}:test is left out`,
    ]);
    const part = await load('', { offset: 1, limit: 1 });
    expect([[...part.data], [...(part.labels ?? [])]]).toEqual([second, [25]]);
    const unlabelled = await load('', { split: 'test', labels: false });
    expect([unlabelled.labels, unlabelled.classNames, unlabelled.notes]).toEqual([
      undefined,
      undefined,
      [transposed],
    ]);
    await refused('', { split: 'validation' }).toMatchObject({
      code: 'ERR_NO_SPLIT',
      message: expect.stringContaining('it has train and test'),
    });
  });

  it('keeps labels that count from 0 already, and says only what it did', async () => {
    await fill({
      'emnist-balanced-test-images-idx3-ubyte': imagesFile(first, second),
      'emnist-balanced-test-labels-idx1-ubyte': labelsFile(3, 1),
      'emnist-balanced-mapping.txt': balancedMapping,
      'readme.txt': 'x',
    });
    const images = await load('', { split: 'test' });
    expect(images.labels).toEqual(Uint8Array.of(3, 1));
    expect(images.classNames).toEqual(['0', 'A', 'a', 't']);
    expect(images.notes).toEqual([
      `left out beside the IDX files of ${folder}: readme.txt`,
      transposed,
      'classes by emnist-balanced-mapping.txt: 4 (0, A, a, t)',
    ]);
  });

  it('without a mapping has the labels of the file and no names, and says so', async () => {
    await letters();
    await rm(join(folder, 'emnist-letters-mapping.txt'));
    const images = await load('', { split: 'train' });
    expect(images.labels).toEqual(Uint8Array.of(1, 26, 3));
    expect('classNames' in images).toBe(false);
    expect(images.notes).toEqual([
      transposed,
      'labels are those of the file, without names: emnist-letters-mapping.txt is not beside it',
    ]);
  });

  it('with several of its data sets is refused, and a file or a folder of one is what to give', async () => {
    await letters();
    await fill({
      'emnist-balanced-train-images-idx3-ubyte': imagesFile(third),
      'emnist-balanced-train-labels-idx1-ubyte': labelsFile(2),
      'emnist-balanced-mapping.txt': balancedMapping,
    });
    for (const spec of [{}, { split: 'train' }, { split: 'test' }]) {
      await refused('', spec).toMatchObject({
        code: 'ERR_NO_SPLIT',
        message: `${folder} has several data sets of EMNIST: balanced and letters`,
        remedy: expect.stringContaining(join(folder, 'emnist-balanced-train-images-idx3-ubyte')),
      });
    }
    const one = await load('emnist-balanced-train-images-idx3-ubyte');
    expect([[...one.data], one.classNames?.[one.labels?.[0] ?? 0]]).toEqual([third, 'a']);
    const other = await load('emnist-letters-test-images-idx3-ubyte');
    expect([[...other.data], other.classNames?.[other.labels?.[0] ?? 0]]).toEqual([second, 'B']);
  });

  it('gives way to the files of MNIST, which are not transposed, and is told as left out', async () => {
    await letters();
    await fill({ 'train-images-idx3-ubyte': imagesFile(first) });
    const images = await load();
    expect([images.height, images.width, [...images.data]]).toEqual([2, 3, [1, 3, 5, 2, 4, 6]]);
    expect(images.notes).toEqual([
      expect.stringMatching(/^left out beside the IDX files of .*: emnist-letters-mapping\.txt, .*, …$/),
    ]);
  });

  it('is one by the bytes of its files, not by their names', async () => {
    const png = encodePng({ data: Uint8Array.of(7), width: 1, height: 1, channels: 1 });
    await fill({ 'emnist-letters-train-images-preview.png': png });
    expect([...(await load()).data]).toEqual([7]);
    await fill({ 'emnist-digits-train-images-idx3-ubyte': imagesFile(first).subarray(0, -1) });
    await refused().toMatchObject({ code: 'IDX_TRUNCATED' });
  });

  it.each<[string, number[], string, RegExp]>([
    [
      'IDX_LABEL_RANGE',
      [1, 27, 3],
      lettersMapping,
      /label 1 is 27 in .*labels.*mapping\.txt has no such label/,
    ],
    ['IDX_LABEL_RANGE', [1, 2, 0], lettersMapping, /label 2 is 0/],
    ['IDX_COUNT_MISMATCH', [1, 2], lettersMapping, /3 images but 2 labels/],
    [
      'DATASET_FORMAT',
      [1, 2, 3],
      '<html>',
      /line 1 of .*mapping\.txt is not a label up to 255 and the codes/,
    ],
  ])('refuses with %s labels %j that do not fit', async (code, labels, mapping, message) => {
    await letters();
    await rm(join(folder, 'emnist-letters-train-labels-idx1-ubyte.gz'));
    await fill({
      'emnist-letters-train-labels-idx1-ubyte': labelsFile(...labels),
      'emnist-letters-mapping.txt': mapping,
    });
    await refused('', { split: 'train' }).toMatchObject({ code, message: expect.stringMatching(message) });
  });

  it('takes labels of any IDX file as they are', async () => {
    await letters();
    await fill({ styles: labelsFile(0, 200, 47) });
    const images = await load('', { split: 'train', labels: join(folder, 'styles') });
    expect([[...(images.labels ?? [])], 'classNames' in images]).toEqual([[0, 200, 47], false]);
    expect(images.notes).toEqual([`left out beside the IDX files of ${folder}: styles`, transposed]);
  });
});

describe('the parts', () => {
  it('know the names of the files', () => {
    expect(emnistName('emnist-byclass-train-images-idx3-ubyte.gz')).toEqual({
      set: 'byclass',
      split: 'train',
      content: 'images',
    });
    expect(emnistName('emnist-mnist-test-labels-idx1-ubyte')).toEqual({
      set: 'mnist',
      split: 'test',
      content: 'labels',
    });
    for (const name of ['train-images-idx3-ubyte', 'emnist-letters-mapping.txt', 'emnist-letters-train.csv'])
      expect(emnistName(name)).toBeUndefined();
  });

  it('read mappings in any order of their lines', () => {
    expect(parseEmnistMapping('7 66\n\n 3   65  97 \n', 'm.txt')).toEqual([
      { label: 3, characters: ['A', 'a'] },
      { label: 7, characters: ['B'] },
    ]);
  });

  it.each<[string, RegExp]>([
    ['', /m\.txt names no class/],
    ['\n \n', /m\.txt names no class/],
    ['0', /line 1 of m\.txt/],
    ['0 48\n1', /line 2 of m\.txt/],
    ['256 48', /line 1/],
    ['0 32', /line 1/],
    ['0 127', /line 1/],
    ['0 -48', /line 1/],
    ['x 48', /line 1/],
    ['0,48', /line 1/],
    ['0 48\n0 49', /has the label 0 twice/],
    ['0 48\n1 48', /has the class 0 twice/],
  ])('refuse the mapping %j', (text, message) => {
    expect(codeOf(() => parseEmnistMapping(text, 'm.txt'))).toBe('DATASET_FORMAT');
    expect(() => parseEmnistMapping(text, 'm.txt')).toThrow(message);
  });

  it('transpose images of any size and number of channels, and twice is once too many', () => {
    const data = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
    const images = { data, count: 1, height: 2, width: 3, channels: 2 };
    const turned = transposeImages({ ...images, data: data.slice() });
    expect(turned).toEqual({
      data: Uint8Array.of(1, 2, 7, 8, 3, 4, 9, 10, 5, 6, 11, 12),
      count: 1,
      height: 3,
      width: 2,
      channels: 2,
    });
    expect(transposeImages(turned)).toEqual(images);
  });
});
