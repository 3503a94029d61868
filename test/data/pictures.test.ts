// Tests how loadImages converts pictures: orientation, grey, transparency, sizes, crops, levels, notes.

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { chdir, cwd } from 'node:process';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { afterEach, describe, expect, it } from 'vitest';
import { orient } from '../../src/data/exif-orientation.js';
import { resolveInstalled } from '../../src/data/installed-package.js';
import { type LoadedImages, loadImages } from '../../src/data/load-images.js';
import { encodePng } from '../../src/data/png.js';
import { NOTES } from '../../src/data/png-header.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const folder = temporaryFolder('pictures');
const home = cwd();
afterEach(() => chdir(home));

function write(name: string, bytes: Uint8Array | string): string {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, bytes);
  return path;
}

const shapeOf = ({ count, height, width, channels }: LoadedImages) => [count, height, width, channels];
const png = (data: readonly number[], width: number, channels: number) =>
  encodePng({ data: Uint8Array.from(data), width, height: data.length / width / channels, channels });
const raw = (data: readonly number[], width: number, channels: 1 | 2 | 3 | 4) =>
  sharp(Uint8Array.from(data), { raw: { width, height: data.length / width / channels, channels } });
const refused = (spec: Parameters<typeof loadImages>[0]) => expect(loadImages(spec)).rejects;

function chunk(type: string, data: Uint8Array): Buffer {
  const bytes = Buffer.alloc(12 + data.length);
  bytes.writeUInt32BE(data.length, 0);
  bytes.write(type, 4, 'latin1');
  bytes.set(data, 8);
  bytes.writeUInt32BE(crc32(bytes.subarray(4, 8 + data.length)), 8 + data.length);
  return bytes;
}

/** Makes a PNG with an eXIf chunk of this orientation before or after the pixels. */
function pngTurned(data: Uint8Array, orientation: number, after: boolean): Uint8Array {
  const exif = Uint8Array.of(
    ...[0x4d, 0x4d, 0, 42, 0, 0, 0, 8, 0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, orientation, 0, 0, 0, 0, 0, 0],
  );
  const at = after ? data.length - 12 : 33;
  return Buffer.concat([data.subarray(0, at), chunk('eXIf', exif), data.subarray(at)]);
}

/** Makes a PNG whose rows are written without a change. */
function rawPng(
  width: number,
  height: number,
  depth: number,
  colourType: number,
  rows: readonly number[],
  before: Uint8Array[] = [],
) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = depth;
  header[9] = colourType;
  const signature = Buffer.from([137, 80, 78, 71, 13, 10, 26, 10]);
  const idat = chunk('IDAT', deflateSync(Uint8Array.from(rows)));
  return Buffer.concat([signature, chunk('IHDR', header), ...before, idat, chunk('IEND', new Uint8Array(0))]);
}

describe('EXIF orientation', () => {
  const pixels = [1, 2, 3, 4, 5, 6];
  /** Decodes the file with sharp, as the reference. */
  const upright = async (orientation: number) => {
    const tiff = await raw(pixels, 3, 1)
      .toColourspace('b-w')
      .withMetadata({ orientation })
      .tiff({ compression: 'none' })
      .toBuffer();
    return {
      tiff,
      ...(await sharp(tiff).rotate().toColourspace('b-w').raw().toBuffer({ resolveWithObject: true })),
    };
  };

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('%i turns pixels as sharp does, in TIFF and PNG', async (orientation) => {
    const { tiff, data, info } = await upright(orientation);
    const image = { data: Uint8Array.from(pixels), width: 3, height: 2, channels: 1 };
    expect(orient(image, orientation)).toEqual({
      data: Uint8Array.from(data),
      width: info.width,
      height: info.height,
      channels: 1,
    });
    const files = [
      write(`turned-${orientation}.tif`, tiff),
      write(`turned-${orientation}.png`, pngTurned(png(pixels, 3, 1), orientation, false)),
      write(`turned-after-${orientation}.png`, pngTurned(png(pixels, 3, 1), orientation, true)),
    ];
    for (const file of files) {
      const images = await loadImages({ path: file, channels: 1 });
      expect([...shapeOf(images), ...images.data]).toEqual([1, info.height, info.width, 1, ...data]);
      expect(images.notes.includes('turned as the EXIF orientation says')).toBe(orientation !== 1);
    }
  });

  it('comes before the size', async () => {
    const halves = Array.from({ length: 128 }, (_, i) => (i % 16 < 8 ? [255, 0, 0] : [0, 0, 255])).flat();
    const path = write(
      'portrait.jpg',
      await raw(halves, 16, 3).withMetadata({ orientation: 6 }).jpeg({ quality: 100 }).toBuffer(),
    );
    expect(shapeOf(await loadImages(path))).toEqual([1, 16, 8, 3]);
    const small = await loadImages({ path, resize: '4x8' });
    expect(shapeOf(small)).toEqual([1, 8, 4, 3]);
    const pixel = (y: number) => Array.from(small.data.subarray(12 * y, 12 * y + 3));
    for (const [at, value] of [254, 0, 0].entries())
      expect(Math.abs((pixel(0)[at] ?? 999) - value)).toBeLessThan(4);
    for (const [at, value] of [0, 0, 254].entries())
      expect(Math.abs((pixel(7)[at] ?? 999) - value)).toBeLessThan(4);
    expect(small.notes).toEqual([
      'turned as the EXIF orientation says',
      'resized from 8x16 to 4x8 (width x height, cover)',
    ]);
  });

  it('passes over a damaged EXIF block, as its note says', async () => {
    const bytes = pngTurned(png(pixels, 3, 1), 3, false);
    bytes[33 + 8 + 25]! ^= 1; // the last byte of the EXIF block, which is not part of the orientation
    const { data, notes } = await loadImages(write('damaged.png', bytes));
    expect(Array.from(data)).toEqual(pixels);
    expect(notes).toEqual([NOTES.checksum]);
  });

  it('ignores EXIF blocks that are cut off or say nothing', async () => {
    for (const exif of [
      [],
      [0x4d, 0x4d, 0, 42, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0],
      [0x49, 0x49, 42, 0, 8, 0, 0, 0, 9, 0, 1, 1, 3, 0],
    ]) {
      const good = png(pixels, 3, 1);
      const bytes = Buffer.concat([
        good.subarray(0, 33),
        chunk('eXIf', Uint8Array.from(exif)),
        good.subarray(33),
      ]);
      expect(Array.from((await loadImages(write('odd.png', bytes))).data)).toEqual(pixels);
    }
  });

  it('of PNG is that of the first intact chunk in the file as it was read', async () => {
    const image = png([1, 2, 3], 3, 1);
    const exifOf = (orientation: number) => {
      const file = Buffer.from(pngTurned(image, orientation, false));
      return file.subarray(33, file.length - (image.length - 33));
    };
    const damaged = Buffer.from(exifOf(6));
    damaged[damaged.length - 1]! ^= 1;
    const [start, rest, end] = [image.subarray(0, 33), image.subarray(33, -12), image.subarray(-12)];
    // Reading ends at a chunk without a valid type, but the image is complete by then.
    const broken = Uint8Array.of(0, 0, 0, 0, 0x31, 0x32, 0x33, 0x34, 0, 0, 0, 0);
    const turnedNote = 'turned as the EXIF orientation says';
    const cases: [string, Uint8Array[], width: number][] = [
      ['damaged', [start, damaged, rest, end], 3],
      ['damaged-then-intact', [start, damaged, exifOf(6), rest, end], 1],
      ['two', [start, exifOf(6), exifOf(1), rest, end], 1],
      ['before-the-break', [start, exifOf(6), rest, broken], 1],
      ['behind-the-break', [start, rest, broken, exifOf(6), end], 3],
      ['behind-the-end', [start, rest, end, exifOf(6)], 3],
      ['cut-off', [start, rest, exifOf(6).subarray(0, -3)], 3],
    ];
    for (const [name, parts, width] of cases) {
      const images = await loadImages(write(`exif-${name}.png`, Buffer.concat(parts)));
      expect([name, images.width, images.notes.includes(turnedNote)]).toEqual([name, width, width === 1]);
    }
  });
});

/** Makes a TIFF file of one row of grey samples in 32-bit floating point. */
function floatTiff(samples: readonly number[]): Uint8Array {
  const data = Buffer.from(Float32Array.from(samples).buffer);
  const tags = [
    [256, samples.length], // width
    [257, 1], // height
    [258, 32], // bits of a sample
    [259, 1], // not compressed
    [262, 1], // 0 is black
    [273, 8], // offset of the samples
    [277, 1], // samples of a pixel
    [278, 1], // rows in a strip
    [279, data.length],
    [339, 3], // floating point
  ];
  const directory = Buffer.alloc(2 + 12 * tags.length + 4);
  directory.writeUInt16LE(tags.length, 0);
  for (const [i, [tag = 0, value = 0]] of tags.entries()) {
    directory.writeUInt16LE(tag, 2 + 12 * i);
    directory.writeUInt16LE(4, 4 + 12 * i);
    directory.writeUInt32LE(1, 6 + 12 * i);
    directory.writeUInt32LE(value, 10 + 12 * i);
  }
  return Buffer.concat([Buffer.from([0x49, 0x49, 42, 0, 8 + data.length, 0, 0, 0]), data, directory]);
}

describe('channels and depth', () => {
  it('a grey JPEG, WebP of grey, TIFF has the channels of its file', async () => {
    const grey = () => raw(Array(64).fill(100), 8, 1).toColourspace('b-w');
    const jpeg = write('grey/a.jpg', await grey().jpeg().toBuffer());
    expect(shapeOf(await loadImages(jpeg))).toEqual([1, 8, 8, 1]);
    write('grey/b.png', png(Array(64).fill(3), 8, 1));
    write('grey/c.tiff', await grey().tiff().toBuffer());
    const all = await loadImages(join(folder, 'grey'));
    expect(shapeOf(all)).toEqual([3, 8, 8, 1]);
    expect([all.data[0], all.data[64], all.data[128]]).toEqual([100, 3, 100]);
    expect(all.notes).toEqual([]);
    const small = await loadImages({
      path: join(folder, 'grey'),
      resize: { width: 4, height: 2, fit: 'fill' },
    });
    expect([...shapeOf(small), small.data[0]]).toEqual([3, 2, 4, 1, 100]);
    expect(small.notes).toEqual(['resized from 8x8 to 4x2 (width x height, fill): all 3 images']);
  });

  it('16 bits are scaled, CMYK becomes RGB, of several frames the first is taken: each told', async () => {
    const deep = sharp(Uint16Array.from([0, 0x8080, 0xffff, 0x4040]), {
      raw: { width: 2, height: 2, channels: 1 },
    });
    const grey16 = await loadImages(
      write('deep.tif', await deep.toColourspace('grey16').tiff({ compression: 'none' }).toBuffer()),
    );
    expect([...shapeOf(grey16), ...grey16.data]).toEqual([1, 2, 2, 1, 0, 128, 255, 64]);
    expect(grey16.notes).toEqual(['samples of 16 bits were scaled to 8']);
    const cmyk = await loadImages(
      write(
        'cmyk.jpg',
        await raw([200, 100, 50], 1, 3).toColourspace('cmyk').jpeg({ quality: 100 }).toBuffer(),
      ),
    );
    expect(shapeOf(cmyk)).toEqual([1, 1, 1, 3]);
    expect(cmyk.data[0]).toBeGreaterThan(150);
    expect(cmyk.data[2]).toBeLessThan(80);
    expect(cmyk.notes).toEqual(['converted from CMYK to RGB']);
    const frames = sharp(Uint8Array.from([...Array(12).fill(10), ...Array(12).fill(250)]), {
      raw: { width: 2, height: 4, channels: 3, pageHeight: 2 },
    });
    const gif = await loadImages({ path: write('moving.gif', await frames.gif().toBuffer()), channels: 3 });
    expect([...shapeOf(gif), gif.data[0]]).toEqual([1, 2, 2, 3, 10]);
    expect(gif.notes).toEqual(['the first of several frames or pages was taken']);
  });

  it('a JPEG called .png, a WebP without a name are read', async () => {
    const jpeg = await raw(Array(12).fill(90), 2, 3).jpeg().toBuffer();
    const webp = await raw(Array(12).fill(90), 2, 3).webp({ lossless: true }).toBuffer();
    write('named/a.png', jpeg);
    write('named/b', webp);
    write('named/c.jpeg', png(Array(12).fill(90), 2, 3));
    const images = await loadImages(join(folder, 'named'));
    expect([...shapeOf(images), ...new Set(images.data)]).toEqual([3, 2, 2, 3, 90]);
  });

  it('names the options that help where images differ', async () => {
    write('mixed/a.png', png([1, 2], 2, 1));
    write('mixed/b.png', png([1, 2, 3, 4, 5, 6], 2, 3));
    await refused(join(folder, 'mixed')).toMatchObject({
      code: 'IMAGE_SHAPE',
      message: expect.stringMatching(/b\.png is 1x2x3, .*a\.png is 1x2x1/),
      remedy: 'bring all images to one form with `channels`',
    });
    const images = await loadImages({ path: join(folder, 'mixed'), channels: 1 });
    expect(Array.from(images.data)).toEqual([1, 2, 2, 5]);
    expect(images.notes).toEqual(['converted from RGB to grey: 1 of 2 images']);
    write('mixed/c.png', png([1], 1, 1));
    await refused({ path: join(folder, 'mixed'), channels: 1 }).toMatchObject({
      remedy: 'bring all images to one form with `resize`',
    });
  });

  it('refuses damaged photographs and samples that are no colours', async () => {
    const jpeg = await sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } })
      .jpeg()
      .toBuffer();
    await refused(write('cut.jpg', jpeg.subarray(0, jpeg.length / 2))).toMatchObject({
      code: 'IMAGE_DECODE',
    });
    await refused(write('float.tif', floatTiff([0.5, 200]))).toMatchObject({
      code: 'IMAGE_DECODE',
      message: expect.stringContaining('samples of type float'),
    });
  });
});

describe('transparency', () => {
  it('is composed on a colour in any of the ways to write it', async () => {
    const path = write('clear.png', png([1, 2, 3, 0], 1, 4));
    for (const [background, colour] of [
      ['#f80', [255, 136, 0]],
      ['#F80', [255, 136, 0]],
      ['#ff8000', [255, 128, 0]],
      ['#123', [17, 34, 51]],
      ['123', [123, 123, 123]],
      [7, [7, 7, 7]],
      [
        [1, 2, 3],
        [1, 2, 3],
      ],
    ] as [string | number | [number, number, number], number[]][]) {
      expect([...(await loadImages({ path, background, channels: 3 })).data]).toEqual(colour);
    }
    for (const background of ['#', '#f8', '#f800', '#ff800', '#ff80000', 'f80', '#fg0', '256', 'orange']) {
      await refused({ path, background }).toMatchObject({ message: expect.stringMatching(/background/) });
    }
    await refused({ path, background: '#ff80' }).toMatchObject({
      message: expect.stringContaining("a byte or a colour such as '#ff8000' or '#f80'"),
    });
  });

  const glyph = () => {
    const data = new Uint8Array(256);
    for (let y = 2; y < 6; y += 1) for (let x = 2; x < 6; x += 1) data[4 * (8 * y + x) + 3] = 255;
    return write('icon.png', encodePng({ data, width: 8, height: 8, channels: 4 }));
  };

  it.each([
    [1, undefined, [255, 0], 'white'],
    [3, undefined, [255, 0], 'white'],
    [1, 10, [10, 0], '#0a0a0a'],
    [3, '#000000', [0], 'black'],
    [3, [1, 2, 3] as [number, number, number], [1, 2, 3, 0], '#010203'],
  ] as const)('with %i channels it is composed on %j', async (channels, background, bytes, name) => {
    const images = await loadImages({ path: glyph(), channels, background: background as never });
    expect([...new Set(images.data)]).toEqual(bytes);
    expect(images.notes).toContain(`transparency composed on ${name}`);
  });

  it('with 4 channels it stays; grey with alpha becomes grey', async () => {
    const kept = await loadImages({ path: glyph(), channels: 4 });
    expect([...shapeOf(kept), ...new Set(kept.data)]).toEqual([1, 8, 8, 4, 0, 255]);
    expect(kept.notes).toEqual([]);
    const path = write('ga.png', png([100, 255, 100, 0], 2, 2));
    const grey = await loadImages(path);
    expect([...shapeOf(grey), ...grey.data]).toEqual([1, 1, 2, 1, 100, 255]);
    expect(grey.notes).toEqual(['transparency composed on white']);
    expect(Array.from((await loadImages({ path, channels: 4 })).data)).toEqual([
      100, 100, 100, 255, 100, 100, 100, 0,
    ]);
    const opaque = await loadImages(write('opaque.png', png([100, 255, 50, 255], 2, 2)));
    expect([[...opaque.data], opaque.notes]).toEqual([[100, 50], []]);
  });

  it('a transparent WebP and a palette with a transparent colour likewise', async () => {
    const webp = await raw([0, 0, 0, 0, 9, 9, 9, 255], 2, 4).webp({ lossless: true, exact: true }).toBuffer();
    expect(Array.from((await loadImages({ path: write('t.webp', webp), channels: 3 })).data)).toEqual([
      255, 255, 255, 9, 9, 9,
    ]);
    const palette = rawPng(
      2,
      1,
      8,
      3,
      [0, 0, 1],
      [chunk('PLTE', Uint8Array.of(5, 5, 5, 0, 0, 0)), chunk('tRNS', Uint8Array.of(255, 0))],
    );
    expect(Array.from((await loadImages({ path: write('p.png', palette), channels: 1 })).data)).toEqual([
      5, 255,
    ]);
  });
});

describe('sizes', () => {
  /** 8 pixels wide and 4 high; the left half is 0 and the right half 200. */
  const wide = () =>
    write(
      'wide.png',
      png(
        Array.from({ length: 32 }, (_, i) => (i % 8 < 4 ? 0 : 200)),
        8,
        1,
      ),
    );

  it('cover cuts off, contain pads with the background, fill stretches; cover is the default', async () => {
    const path = wide();
    const rowOf = async (fit: 'cover' | 'contain' | 'fill' | undefined, y: number) => {
      const resize = { width: 4, height: 4, ...(fit && { fit }) };
      return Array.from((await loadImages({ path, resize, background: 50 })).data.subarray(4 * y, 4 * y + 4));
    };
    expect(await rowOf('cover', 0)).toEqual([0, 0, 200, 200]);
    expect(await rowOf(undefined, 0)).toEqual(await rowOf('cover', 0));
    expect(await rowOf('contain', 0)).toEqual([50, 50, 50, 50]);
    expect((await rowOf('contain', 1))[3]).toBeGreaterThan(150);
    expect((await rowOf('fill', 0))[0]).toBeLessThan(20);
    expect((await rowOf('fill', 3))[3]).toBeGreaterThan(180);
  });

  it('contain pads a grey photograph that becomes RGB with the colour itself, and its note says so', async () => {
    const path = join(folder, 'grey-wide.jpg');
    const grey = { raw: { width: 8, height: 4, channels: 1 as const } };
    await sharp(Buffer.alloc(32, 100), grey).toColourspace('b-w').jpeg().toFile(path);
    const resize = { width: 8, height: 8, fit: 'contain' } as const;
    const { data, notes } = await loadImages({ path, resize, background: '#ff8000', channels: 3 });
    expect([...data.subarray(0, 3)]).toEqual([255, 128, 0]);
    expect([...data.subarray(4 * 24, 4 * 24 + 3)]).toEqual([100, 100, 100]);
    expect(notes).toContain('converted from grey to RGB');
    expect(notes.join()).toContain('contain, padded with #ff8000');
  });

  it('takes a number, a text and an object, for files, folders, IDX', async () => {
    const path = wide();
    expect(shapeOf(await loadImages({ path, resize: 3 }))).toEqual([1, 3, 3, 1]);
    expect(shapeOf(await loadImages({ path, resize: '5x2' }))).toEqual([1, 2, 5, 1]);
    const idx = write(
      'x-idx3-ubyte',
      Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, ...Array(8).fill(9)),
    );
    const resized = await loadImages({ path: idx, resize: { width: 4, height: 3 } });
    expect([...shapeOf(resized), ...new Set(resized.data)]).toEqual([2, 3, 4, 1, 9]);
    write('sizes/a.png', png(Array(16).fill(9), 4, 1));
    write('sizes/b.png', png(Array(12).fill(7), 2, 1));
    const events: object[] = [];
    const both = await loadImages({
      path: join(folder, 'sizes'),
      resize: '3x2',
      onEvent: (event) => events.push(event),
    });
    expect([...both.data]).toEqual([...Array(6).fill(9), ...Array(6).fill(7)]);
    expect(both.notes).toEqual(['resized from various sizes to 3x2 (width x height, cover): all 2 images']);
    expect(events).toEqual([
      { type: 'progress', done: 1, of: 2 },
      { type: 'progress', done: 2, of: 2 },
    ]);
  });

  it('of images of more channels than pictures have is refused', async () => {
    const five = write(
      'five',
      Uint8Array.of(0, 0, 8, 4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5, 1, 2, 3, 4, 5),
    );
    expect((await loadImages(five)).channels).toBe(5);
    await refused({ path: five, resize: 4 }).toMatchObject({ code: 'IMAGE_SHAPE' });
  });

  it('a signal ends the conversion of images that are in memory', async () => {
    const count = 2000;
    const header = Buffer.from([0, 0, 8, 4, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 3]);
    header.writeUInt32BE(count, 4);
    const path = write('many-idx4-ubyte', Buffer.concat([header, new Uint8Array(3 * count)]));
    const controller = new AbortController();
    let images = 0;
    const onEvent = () => {
      images += 1;
      if (images === 1) setImmediate(() => controller.abort(new Error('enough')));
    };
    await refused({ path, channels: 1, onEvent, signal: controller.signal }).toThrow('enough');
    expect(images).toBeLessThan(count);
  });

  it('a signal ends reading with its reason', async () => {
    const controller = new AbortController();
    const onEvent = () => controller.abort(new Error('enough'));
    write('sizes/a.png', png(Array(16).fill(9), 4, 1));
    write('sizes/b.png', png(Array(16).fill(9), 4, 1));
    await refused({ path: join(folder, 'sizes'), onEvent, signal: controller.signal }).toThrow('enough');
  });

  it('that sharp cannot make are refused with the name of the file', async () => {
    const path = write('thin.png', png(Array(16_000).fill(7), 1, 1));
    await refused({ path, resize: 4000 }).toMatchObject({
      name: 'PixelCnnError',
      code: 'IMAGE_RESIZE',
      message: expect.stringMatching(
        /cannot resize .*thin\.png from 1x16000 to 4000x4000 \(cover\): .*affine/,
      ),
      remedy: expect.stringContaining('`resize`'),
    });
  });
});

describe('crops', () => {
  /** 16x12 pixels, each with another value. */
  const numbered = (add: number) =>
    png(
      Array.from({ length: 192 }, (_, i) => (i + add) % 256),
      16,
      1,
    );

  it('are pieces of the image, in the same places every time, and different ones', async () => {
    write('crops/cat/a.png', numbered(0));
    write('crops/dog/b.png', numbered(50));
    const spec = { path: join(folder, 'crops'), resize: '5x4', crops: 6 } as const;
    const images = await loadImages(spec);
    expect(shapeOf(images)).toEqual([12, 4, 5, 1]);
    expect(Array.from(images.labels ?? [])).toEqual([...Array(6).fill(0), ...Array(6).fill(1)]);
    const places = Array.from({ length: 12 }, (_, n) => {
      const piece = images.data.subarray(20 * n, 20 * n + 20);
      const corner = piece[0] as number;
      const expected = Array.from(
        { length: 20 },
        (_, i) => (corner + 16 * Math.floor(i / 5) + (i % 5)) % 256,
      );
      expect(Array.from(piece)).toEqual(expected);
      const at = (corner - (n < 6 ? 0 : 50) + 256) % 256;
      expect(at % 16).toBeLessThanOrEqual(11);
      expect(Math.floor(at / 16)).toBeLessThanOrEqual(8);
      return at;
    });
    expect(new Set(places.slice(0, 6)).size).toBeGreaterThan(3);
    expect(places.slice(0, 6)).not.toEqual(places.slice(6));
    expect(images.notes.at(-1)).toBe('cut into 6 crops of 5x4 each: 12 crops of 2 images');
    expect((await loadImages(spec)).data).toEqual(images.data);
    // The places of crops depend on the number of the image in the whole set, not in the part that is read.
    expect((await loadImages({ ...spec, offset: 1, limit: 1 })).data).toEqual(images.data.slice(120));
  });

  it('reach every place, the last one too', async () => {
    const path = write(
      'places.png',
      png(
        Array.from({ length: 12 }, (_, i) => i),
        4,
        1,
      ),
    );
    const images = await loadImages({ path, resize: '3x2', crops: 40 });
    const corners = Array.from({ length: 40 }, (_, n) => images.data[6 * n] as number);
    expect([...new Set(corners)].sort()).toEqual([0, 1, 4, 5]);
  });

  it('enlarge an image that is smaller, keeping its sides in proportion', async () => {
    const path = write('small.png', png(Array(6).fill(77), 3, 1));
    const images = await loadImages({ path, resize: 8, crops: 2 });
    expect([...shapeOf(images), ...new Set(images.data)]).toEqual([2, 8, 8, 1, 77]);
    expect(images.notes[0]).toBe('smaller than a crop of 8x8, enlarged to cover it');
    await refused({ path, resize: 8, crops: 2, values: 'levels' }).toMatchObject({
      message: expect.stringMatching(/small\.png is 3x2, smaller than a crop of 8x8/),
    });
    expect((await loadImages({ path, resize: 2, crops: 3, values: 'levels' })).values).toBe('levels');
  });

  it('are told in the order in which things are done to an image, whichever image comes first', async () => {
    write('order/1.png', png(Array(12).fill(9), 2, 2)); // grey with alpha, 2x3
    write('order/2.png', pngTurned(png(Array(64).fill(9), 8, 1), 6, false));
    write('order/3.png', rawPng(8, 8, 16, 2, Array(8 * 49).fill(0)));
    const spec = {
      path: join(folder, 'order'),
      resize: '4x3',
      crops: 1,
      channels: 1,
      background: 0,
    } as const;
    expect((await loadImages(spec)).notes).toEqual([
      '16 bits per channel were scaled to 8: 1 of 3 images',
      'turned as the EXIF orientation says: 1 of 3 images',
      'transparency composed on black: 1 of 3 images',
      'converted from RGB to grey: 1 of 3 images',
      'smaller than a crop of 4x3, enlarged to cover it: 1 of 3 images',
      'cut into 1 crop of 4x3 each: 3 crops of 3 images',
    ]);
    const one = await loadImages({ path: join(folder, 'order/2.png'), resize: 3, crops: 4 });
    expect(one.notes).toEqual([
      'turned as the EXIF orientation says',
      'cut into 4 crops of 3x3 each: 4 crops of 1 image',
    ]);
  });

  it('enlarge no further than the limit on pixels, and ask for no memory before they know', async () => {
    const tall = write('tall.png', png(Array(16_000).fill(7), 1, 1));
    const flat = write('flat.png', png(Array(16_000).fill(7), 16_000, 1));
    const before = process.resourceUsage().maxRSS;
    for (const [path, resize, size] of [
      [tall, '65x64', '65x1040000 = 67600000'],
      [tall, 4000, '4000x64000000 = 256000000000'],
      [flat, 4000, '64000000x4000 = 256000000000'],
      [write('one.png', png([1], 1, 1)), 16_384, '16384x16384 = 268435456'],
    ] as const) {
      await refused({ path, resize, crops: 1 }).toMatchObject({
        code: 'ERR_LIMIT',
        message: expect.stringContaining(`has ${size} pixels, limit 67108864`),
        remedy: expect.stringContaining('`resize`'),
      });
    }
    expect(process.resourceUsage().maxRSS - before).toBeLessThan(50 * 1024); // KiB
    expect((await loadImages({ path: tall, resize: '2x3', crops: 1 })).count).toBe(1);
  });
});

describe('levels', () => {
  it('come as they are, and the batch says so', async () => {
    const path = write('mask.png', png([0, 1, 1, 0], 2, 1));
    const images = await loadImages({ path, values: 'levels' });
    expect([[...images.data], images.values]).toEqual([[0, 1, 1, 0], 'levels']);
    expect((await loadImages({ path, values: 'bytes' })).values).toBe('bytes');
    expect('values' in (await loadImages(path))).toBe(false);
  });

  it.each<[string, Promise<Uint8Array>, RegExp]>([
    ['bits', Promise.resolve(rawPng(2, 1, 1, 0, [0, 0x40])), /has 1 bits a sample, which are scaled/],
    [
      'palette',
      Promise.resolve(rawPng(1, 1, 8, 3, [0, 0], [chunk('PLTE', Uint8Array.of(5, 5, 5))])),
      /palette/,
    ],
    ['alpha', Promise.resolve(png([1, 255], 1, 2)), /alpha channel/],
    [
      'colour key',
      Promise.resolve(rawPng(1, 1, 8, 0, [0, 7], [chunk('tRNS', Uint8Array.of(0, 7))])),
      /transparent colour/,
    ],
    ['jpeg', raw([1, 2, 3], 1, 3).jpeg().toBuffer(), /is no PNG/],
    ['webp', raw([1, 2, 3], 1, 3).webp({ lossless: true }).toBuffer(), /is no PNG/],
  ])('refuse what would change them: %s', async (name, bytes, message) => {
    await refused({ path: write(`levels-${name}`, await bytes), values: 'levels' }).toMatchObject({
      code: 'ERR_INVALID_ARG_VALUE',
      message: expect.stringMatching(message),
      remedy: expect.stringMatching(/PNG|without transparency/),
    });
  });
});

describe('pngLimits', () => {
  it('are those of the decoder, as object or text', async () => {
    const path = write('limited.png', png(Array(64).fill(1), 8, 1));
    await refused({ path, pngLimits: { maxSide: 7 } }).toMatchObject({ code: 'PNG_LIMIT' });
    await refused({ path, pngLimits: 'maxSide=7,maxChunks=9' }).toMatchObject({ code: 'PNG_LIMIT' });
    expect((await loadImages({ path, pngLimits: 'maxSide=8' })).count).toBe(1);
  });

  it('are named in errors as this function takes them', async () => {
    const path = write('trailing.png', Buffer.concat([png(Array(64).fill(1), 8, 1), Buffer.alloc(3)]));
    await refused({ path, pngLimits: { maxSide: 7 } }).toMatchObject({
      remedy: "if the file can be trusted, raise the limit: `pngLimits` 'maxSide=8'",
    });
    await refused({ path, pngLimits: { strict: true } }).toMatchObject({
      code: 'PNG_TRAILING_DATA',
      remedy: "leave out `pngLimits` 'strict=true'",
    });
  });
});

describe('the package sharp', () => {
  it('is looked for from the working directory first', async () => {
    const jpeg = write('elsewhere/a.jpg', await raw([1, 2, 3], 1, 3).jpeg().toBuffer());
    write('elsewhere/node_modules/sharp/package.json', '{"name":"sharp","main":"index.cjs"}');
    const fake = `const image = { metadata: async () => ({ width: 1, height: 1, depth: 'uchar', space: 'srgb' }),
      rotate: () => image, raw: () => image,
      toBuffer: async () => ({ data: Buffer.of(7, 8, 9), info: { width: 1, height: 1, channels: 3 } }) };
      module.exports = () => image;`;
    write('elsewhere/node_modules/sharp/index.cjs', fake);
    chdir(join(folder, 'elsewhere'));
    expect(Array.from((await loadImages(jpeg)).data)).toEqual([7, 8, 9]);
    chdir(home);
    expect(Array.from((await loadImages(jpeg)).data)).not.toEqual([7, 8, 9]);
  });

  it('that does not start is told with its place', async () => {
    const jpeg = write('broken/a.jpg', await raw([1, 2, 3], 1, 3).jpeg().toBuffer());
    write('broken/node_modules/sharp/package.json', '{"name":"sharp","main":"index.cjs"}');
    write('broken/node_modules/sharp/index.cjs', "throw new Error('built for another system');");
    chdir(join(folder, 'broken'));
    await refused(jpeg).toMatchObject({
      code: 'ERR_MISSING_PACKAGE',
      message: expect.stringMatching(/broken.*index\.cjs does not start: .*another system/),
      remedy: expect.stringContaining('npm install sharp'),
    });
  });

  it('that is not there is told with where it was looked for', () => {
    chdir(folder);
    expect(() => resolveInstalled('no-such-package', 'reading a.jpg', 'ERR_MISSING_PACKAGE')).toThrow(
      expect.objectContaining({
        code: 'ERR_MISSING_PACKAGE',
        message: `reading a.jpg needs the npm package no-such-package, not found from ${cwd()}, nor from pixelcnn itself`,
        remedy: 'npm install no-such-package',
      }),
    );
  });
});
