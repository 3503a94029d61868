// Defines ImageBatch, a set of equally sized images, and RasterImage, a single image.
import { check, checkInteger } from '../errors.js';
import { show } from '../show.js';
import { checkBytes } from './check-bytes.js';

/** `count` images of `height` x `width` pixels with `channels` bytes each. All loaders return one. */
export interface ImageBatch {
  /** (count, height, width, channels): bytes 0…255, or levels where `values` says so. */
  data: Uint8Array;
  count: number;
  height: number;
  width: number;
  channels: number;
  /** (count): the class of each image. */
  labels?: Uint8Array;
  /** The name of each class: that of label 0, of label 1, and so on. */
  classNames?: string[];
  /**
   * What the numbers in `data` are. `'bytes'` are 0…255, and a model converts them to its levels (`floor(byte
   * * levels / 256)`). `'levels'` are 0…levels - 1 already, as in masks, label maps and codes. If it is not
   * given, the data count as bytes, and a model refuses them if they look like levels (ERR_IMAGE_VALUES). See
   * docs/levels.md.
   */
  values?: ImageValues;
}

/** What the numbers in an {@link ImageBatch} are: bytes 0…255 or levels 0…levels - 1. */
export type ImageValues = 'bytes' | 'levels';
export const imageValues: readonly ImageValues[] = ['bytes', 'levels'];

/**
 * One 8-bit image. `data` is (height, width, channels), where `channels` is 1 (grey), 2 (grey and alpha), 3
 * (RGB) or 4 (RGBA).
 */
export interface RasterImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: number;
}

const MAXIMUM_SIDE = 2 ** 24;

/**
 * Throws unless `images` is a well-formed ImageBatch of at least one image: `data` and `labels` have the
 * sizes that the other fields state, and `classNames` has a name for every label. `name` begins the message.
 */
export function checkImageBatch(images: unknown, name: string): asserts images is ImageBatch {
  check(typeof images === 'object' && images !== null, 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must be an ImageBatch {data, count, height, width, channels}, got ${show(images)}`;
  });
  const { data, count, height, width, channels, labels, classNames, values } = images as Record<
    keyof ImageBatch,
    unknown
  >;
  checkBytes(data, `${name}.data`);
  const n = checkInteger(count, `${name}.count`, 1, 2 ** 32 - 1);
  const h = checkInteger(height, `${name}.height`, 1, MAXIMUM_SIDE);
  const w = checkInteger(width, `${name}.width`, 1, MAXIMUM_SIDE);
  const c = checkInteger(channels, `${name}.channels`, 1, 65_535);
  const bytes = BigInt(n) * BigInt(h) * BigInt(w) * BigInt(c);
  check(BigInt(data.length) === bytes, 'ERR_BUFFER_SIZE', () => {
    return `${name}.data must hold ${n}x${h}x${w}x${c} = ${bytes} bytes (NHWC), got ${data.length}`;
  });
  check(values === undefined || imageValues.includes(values as ImageValues), 'ERR_INVALID_ARG_VALUE', () => {
    return `${name}.values must be 'bytes' or 'levels', got ${show(values)}`;
  });
  checkClassNames(classNames, `${name}.classNames`);
  if (labels === undefined) return;
  checkBytes(labels, `${name}.labels`);
  check(labels.length === n, 'ERR_BUFFER_SIZE', () => {
    return `${name}.labels must hold one byte for each of the ${n} images, got ${labels.length}`;
  });
  if (classNames === undefined) return;
  const unnamed = labels.findIndex((label) => label >= classNames.length);
  check(unnamed < 0, 'ERR_INVALID_ARG_VALUE', () => {
    return `${name}.classNames has ${classNames.length} names, label ${unnamed} is ${labels[unnamed]}`;
  });
}

function checkClassNames(value: unknown, name: string): asserts value is string[] | undefined {
  if (value === undefined) return;
  const texts = Array.isArray(value) && value.every((one) => typeof one === 'string');
  check(texts, 'ERR_INVALID_ARG_VALUE', () => `${name} must be an array of strings, got ${show(value)}`);
}

/**
 * Copies the images at `indices`, and their labels, into a new batch in that order. An index may appear
 * several times.
 * @throws PixelCnnError ERR_OUT_OF_RANGE if `indices` is empty or an index is outside [0, count).
 */
export function selectImages(images: ImageBatch, indices: ArrayLike<number>): ImageBatch {
  checkImageBatch(images, 'images');
  const { height, width, channels, classNames, values } = images;
  const count = checkInteger(indices.length, 'indices.length', 1, 2 ** 32 - 1);
  const size = height * width * channels;
  const data = new Uint8Array(count * size);
  const labels = images.labels && new Uint8Array(count);
  for (let i = 0; i < count; ++i) {
    const index = checkInteger(indices[i], `indices[${i}]`, 0, images.count - 1);
    data.set(images.data.subarray(index * size, (index + 1) * size), i * size);
    if (labels && images.labels) labels[i] = images.labels[index] as number;
  }
  return {
    data,
    count,
    height,
    width,
    channels,
    ...(labels && { labels }),
    ...(classNames && { classNames }),
    ...(values && { values }),
  };
}

/**
 * Returns the images from `start` up to, but not including, `end` (default: all the rest). The result shares
 * the memory of `images`: nothing is copied.
 * @throws PixelCnnError ERR_OUT_OF_RANGE unless 0 <= start < end <= count.
 */
export function sliceImages(images: ImageBatch, start: number, end?: number): ImageBatch {
  checkImageBatch(images, 'images');
  const { height, width, channels, labels, classNames, values } = images;
  const first = checkInteger(start, 'start', 0, images.count - 1);
  const last = checkInteger(end === undefined ? images.count : end, 'end', first + 1, images.count);
  const size = height * width * channels;
  const data = images.data.subarray(first * size, last * size);
  return {
    data,
    count: last - first,
    height,
    width,
    channels,
    ...(labels && { labels: labels.subarray(first, last) }),
    ...(classNames && { classNames }),
    ...(values && { values }),
  };
}
