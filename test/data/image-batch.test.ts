// Tests the checks, selections and slices of image batches, and contact sheets.
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { checkImageBatch, type ImageBatch, selectImages, sliceImages } from '../../src/data/image-batch.js';
import { gridLayout, imageGrid } from '../../src/data/image-grid.js';
import { encodePng } from '../../src/data/png.js';

const batch = (): ImageBatch => ({
  data: Uint8Array.from({ length: 3 * 2 * 2 }, (_, i) => i),
  count: 3,
  height: 2,
  width: 2,
  channels: 1,
  labels: Uint8Array.of(7, 8, 9),
});
/** A batch that carries every condition: a label, 2 features for an image, 3 numbers for a pixel of the map. */
const conditioned = (): ImageBatch => ({
  ...batch(),
  labels: Uint16Array.of(7, 300, 65_535),
  features: Float32Array.from({ length: 3 * 2 }, (_, i) => i / 2),
  map: Float32Array.from({ length: 3 * 2 * 2 * 3 }, (_, i) => -i),
});

const throwsCode = (run: () => unknown, code: string) =>
  expect(run).toThrow(expect.objectContaining({ name: 'PixelCnnError', code }));

const manyNames = (count: number) => Array.from({ length: count }, (_, i) => String(i));

describe('checkImageBatch', () => {
  it('accepts a batch with and without labels', () => {
    const { labels: _, ...plain } = batch();
    checkImageBatch(batch(), 'images');
    checkImageBatch(plain, 'images');
    checkImageBatch({ ...batch(), data: Buffer.from(batch().data) }, 'images');
    checkImageBatch({ ...batch(), classNames: manyNames(10) }, 'images');
  });

  it('accepts features and maps of any length for each place, and arrays of another realm', () => {
    checkImageBatch(conditioned(), 'images');
    checkImageBatch({ ...batch(), features: new Float32Array(3), map: new Float32Array(12) }, 'images');
    const [labels, features] = runInNewContext('[new Uint16Array(3), new Float32Array(6)]');
    expect([labels instanceof Uint16Array, features instanceof Float32Array]).toEqual([false, false]);
    checkImageBatch({ ...batch(), labels, features }, 'images');
  });

  it.each<[object, string]>([
    [{ data: [1, 2] }, 'ERR_INVALID_ARG_TYPE'],
    [{ data: new Int8Array(12) }, 'ERR_INVALID_ARG_TYPE'],
    [{ data: new Uint8ClampedArray(12) }, 'ERR_INVALID_ARG_TYPE'],
    [{ data: new Uint8Array(new SharedArrayBuffer(12)) }, 'ERR_INVALID_ARG_TYPE'],
    [{ data: new Uint8Array(11) }, 'ERR_BUFFER_SIZE'],
    [{ data: new Uint8Array(13) }, 'ERR_BUFFER_SIZE'],
    [{ count: 0, data: new Uint8Array(0) }, 'ERR_OUT_OF_RANGE'],
    [{ count: '3' }, 'ERR_INVALID_ARG_TYPE'],
    [{ count: 3n }, 'ERR_INVALID_ARG_TYPE'],
    [{ width: Number.NaN }, 'ERR_OUT_OF_RANGE'],
    [{ height: 1.5 }, 'ERR_OUT_OF_RANGE'],
    [{ channels: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ width: 2 ** 53 }, 'ERR_OUT_OF_RANGE'],
    [{ count: 2 ** 32 - 1, height: 2 ** 24, width: 2 ** 24, channels: 65535 }, 'ERR_BUFFER_SIZE'],
    [{ labels: [7, 8, 9] }, 'ERR_INVALID_ARG_TYPE'],
    [{ labels: Uint8Array.of(7, 8) }, 'ERR_BUFFER_SIZE'],
    [{ labels: Uint16Array.of(7, 8, 9, 10) }, 'ERR_BUFFER_SIZE'],
    [{ labels: Uint32Array.of(7, 8, 9) }, 'ERR_INVALID_ARG_TYPE'],
    [{ labels: Float32Array.of(7, 8, 9) }, 'ERR_INVALID_ARG_TYPE'],
    [{ labels: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ labels: new Uint16Array(new SharedArrayBuffer(6)) }, 'ERR_INVALID_ARG_TYPE'],
    [{ labels: Uint16Array.of(7, 8, 256), classNames: manyNames(256) }, 'ERR_INVALID_ARG_VALUE'],
    [{ features: [1, 2, 3] }, 'ERR_INVALID_ARG_TYPE'],
    [{ features: new Float64Array(3) }, 'ERR_INVALID_ARG_TYPE'],
    [{ features: new Float32Array(new SharedArrayBuffer(12)) }, 'ERR_INVALID_ARG_TYPE'],
    [{ features: new Float32Array(0) }, 'ERR_BUFFER_SIZE'],
    [{ features: new Float32Array(7) }, 'ERR_BUFFER_SIZE'],
    [{ features: Float32Array.of(1, 2, Number.NaN) }, 'ERR_OUT_OF_RANGE'],
    [{ features: Float32Array.of(Number.NEGATIVE_INFINITY, 2, 3) }, 'ERR_OUT_OF_RANGE'],
    [{ map: new Uint8Array(12) }, 'ERR_INVALID_ARG_TYPE'],
    [{ map: new Float32Array(0) }, 'ERR_BUFFER_SIZE'],
    [{ map: new Float32Array(3) }, 'ERR_BUFFER_SIZE'],
    [{ map: new Float32Array(18) }, 'ERR_BUFFER_SIZE'],
    [{ map: new Float32Array(12).fill(Number.POSITIVE_INFINITY, 11) }, 'ERR_OUT_OF_RANGE'],
    [{ classNames: 'cat' }, 'ERR_INVALID_ARG_VALUE'],
    [{ classNames: ['cat', 3] }, 'ERR_INVALID_ARG_VALUE'],
    [{ classNames: [...manyNames(9), '0'] }, 'ERR_INVALID_ARG_VALUE'],
    [{ classNames: manyNames(9) }, 'ERR_INVALID_ARG_VALUE'],
    [{ classNames: [] }, 'ERR_INVALID_ARG_VALUE'],
  ])('refuses %o with %s', (change, code) => {
    throwsCode(() => checkImageBatch({ ...batch(), ...change }, 'images'), code);
  });

  it.each<[object, string]>([
    [{ labels: new Uint16Array(2) }, 'images.labels must hold one label for each of the 3 images, got 2'],
    [
      { labels: new Int8Array(3) },
      'images.labels must be a Uint8Array or Uint16Array, got Int8Array(3 bytes)',
    ],
    [
      { features: new Float32Array(7) },
      'images.features must hold equally many numbers, at least one, for each of the 3 images, got 7',
    ],
    [
      { map: new Float32Array(6) },
      'images.map must hold equally many numbers, at least one, for each of the 3x2x2 = 12 pixels (count, height, width), got 6',
    ],
    [
      { features: Float32Array.of(0, 1, Number.NaN) },
      'images.features must hold finite numbers, got NaN at 2',
    ],
  ])('says what is wrong with %o', (change, message) => {
    expect(() => checkImageBatch({ ...batch(), ...change }, 'images')).toThrow(message);
  });

  it.each([null, undefined, 3, 'x', true])('refuses %s', (value) => {
    throwsCode(() => checkImageBatch(value, 'images'), 'ERR_INVALID_ARG_TYPE');
  });

  it('refuses a detached buffer and says which argument', () => {
    const images = batch();
    structuredClone(images.data, { transfer: [images.data.buffer as ArrayBuffer] });
    throwsCode(() => checkImageBatch(images, 'validation'), 'ERR_DETACHED');
    expect(() => checkImageBatch(images, 'validation')).toThrow(/validation\.data/);
  });

  it.each(['labels', 'features', 'map'] as const)('refuses %s whose buffer is detached', (key) => {
    const images = conditioned();
    structuredClone(images[key], { transfer: [images[key]?.buffer as ArrayBuffer] });
    throwsCode(() => checkImageBatch(images, 'validation'), 'ERR_DETACHED');
    expect(() => checkImageBatch(images, 'validation')).toThrow(`validation.${key}`);
  });
});

describe('selectImages and sliceImages', () => {
  it('selects in order, with repeats, as a copy', () => {
    const images = batch();
    const selected = selectImages(images, [2, 0, 2]);
    expect(Array.from(selected.data)).toEqual([8, 9, 10, 11, 0, 1, 2, 3, 8, 9, 10, 11]);
    expect(Array.from(selected.labels ?? [])).toEqual([9, 7, 9]);
    images.data.fill(0);
    expect(selected.data[0]).toBe(8);
    expect(selectImages(images, Uint32Array.of(1)).count).toBe(1);
  });

  it('slices without a copy', () => {
    const images = batch();
    const part = sliceImages(images, 1, 2);
    expect(part.data.buffer).toBe(images.data.buffer);
    expect([part.count, ...part.data, ...(part.labels ?? [])]).toEqual([1, 4, 5, 6, 7, 8]);
    const { labels: _, ...plain } = images;
    expect(sliceImages(plain, 1)).toEqual({ ...plain, count: 2, data: images.data.subarray(4) });
  });

  it('selects labels, features and map as copies of their type', () => {
    const images = conditioned();
    const { features, map } = images as Required<ImageBatch>;
    const selected = selectImages(images, [2, 0, 2]);
    checkImageBatch(selected, 'selected');
    expect(selected.labels).toEqual(Uint16Array.of(65_535, 7, 65_535));
    expect(selected.features).toEqual(Float32Array.of(2, 2.5, 0, 0.5, 2, 2.5));
    const last = [...map.subarray(24)];
    expect(selected.map).toEqual(Float32Array.from([...last, ...map.subarray(0, 12), ...last]));
    features.fill(9);
    map.fill(9);
    expect([selected.features?.[0], selected.map?.[0]]).toEqual([2, -24]);
  });

  it('selects from a Buffer without keeping its memory', () => {
    const data = Buffer.from(batch().data);
    const selected = selectImages({ ...batch(), data }, [1]);
    data.fill(0);
    expect(selected.data).toEqual(Uint8Array.of(4, 5, 6, 7));
  });

  it('slices labels, features and map without a copy', () => {
    const images = conditioned();
    const part = sliceImages(images, 1);
    checkImageBatch(part, 'part');
    expect(part).toEqual({
      ...images,
      count: 2,
      data: images.data.subarray(4),
      labels: Uint16Array.of(300, 65_535),
      features: Float32Array.of(1, 1.5, 2, 2.5),
      map: images.map?.subarray(12),
    });
    for (const key of ['labels', 'features', 'map'] as const)
      expect(part[key]?.buffer).toBe(images[key]?.buffer);
  });

  it.each([[[3]], [[-1]], [[0.5]], [[Number.NaN]], [[]]])('refuses the indices %o', (indices) => {
    throwsCode(() => selectImages(batch(), indices), 'ERR_OUT_OF_RANGE');
  });

  it.each([
    [0, 0],
    [2, 1],
    [0, 4],
    [3, 4],
    [-1, 2],
  ])('refuses the slice %i to %i', (start, end) => {
    throwsCode(() => sliceImages(batch(), start, end), 'ERR_OUT_OF_RANGE');
  });
});

describe('imageGrid', () => {
  it('spreads levels over black to white, and refuses them where their number is not known', () => {
    const images = { data: Uint8Array.of(0, 1, 2, 3), count: 1, height: 2, width: 2, channels: 1 };
    const masks = { ...images, values: 'levels' as const };
    expect([...imageGrid(masks, { padding: 0, levels: 4 }).data]).toEqual([0, 85, 170, 255]);
    expect([...imageGrid({ ...images, values: 'bytes' }, { padding: 0, levels: 4 }).data]).toEqual([
      0, 1, 2, 3,
    ]);
    throwsCode(() => imageGrid(masks), 'ERR_INVALID_ARG_VALUE');
    throwsCode(() => encodePng(masks), 'ERR_INVALID_ARG_VALUE');
    throwsCode(() => imageGrid(masks, { levels: 3 }), 'ERR_OUT_OF_RANGE');
  });

  it('places images, padding and empty cells', () => {
    const grid = imageGrid(batch(), { columns: 2, padding: 1, background: 128 });
    expect([grid.width, grid.height, grid.channels]).toEqual([7, 7, 1]);
    const rows = Array.from({ length: 7 }, (_, y) => Array.from(grid.data.subarray(7 * y, 7 * y + 7)));
    const b = 128;
    expect(rows).toEqual([
      [b, b, b, b, b, b, b],
      [b, 0, 1, b, 4, 5, b],
      [b, 2, 3, b, 6, 7, b],
      [b, b, b, b, b, b, b],
      [b, 8, 9, b, b, b, b],
      [b, 10, 11, b, b, b, b],
      [b, b, b, b, b, b, b],
    ]);
  });

  it('shows the same images whatever else a batch carries', () => {
    expect(imageGrid(conditioned())).toEqual(imageGrid(batch()));
  });

  it('scales by repeating pixels, in colour', () => {
    const images = { data: Uint8Array.of(1, 2, 3, 4, 5, 6), count: 1, height: 1, width: 2, channels: 3 };
    const grid = imageGrid(images, { scale: 2, padding: 0 });
    const row = [1, 2, 3, 1, 2, 3, 4, 5, 6, 4, 5, 6];
    expect(grid).toEqual({ data: Uint8Array.from([...row, ...row]), width: 4, height: 2, channels: 3 });
  });

  it('has white padding of 2 and a square layout by default', () => {
    const grid = imageGrid(batch());
    expect([grid.width, grid.height, grid.data[0]]).toEqual([10, 10, 255]);
  });

  it('tells the size of a grid before there are images', () => {
    const { data: _, ...shape } = batch();
    const { width, height, channels } = imageGrid(batch(), { columns: 2, scale: 3 });
    expect(gridLayout(shape, { columns: 2, scale: 3 })).toMatchObject({ width, height, channels });
    throwsCode(() => gridLayout({ ...shape, count: 2 ** 31 }), 'ERR_OUT_OF_RANGE');
  });

  it('refuses options out of range', () => {
    for (const options of [
      { columns: 0 },
      { padding: -1 },
      { scale: 0.5 },
      { background: 256 },
      { scale: 65_535 },
    ]) {
      throwsCode(() => imageGrid(batch(), options), 'ERR_OUT_OF_RANGE');
    }
  });

  it('refuses an option that it does not know, and suggests one that it does', () => {
    const misspelt = { column: 8 } as object;
    throwsCode(() => imageGrid(batch(), misspelt), 'ERR_INVALID_ARG_VALUE');
    expect(() => imageGrid(batch(), misspelt)).toThrow(/imageGrid: unknown option 'column'.*'columns'/);
  });
});
