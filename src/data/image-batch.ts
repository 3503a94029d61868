// A set of equally sized uint8 images in NHWC order, with or without labels.
import { check } from '../errors.js';
import { show } from '../options.js';
import { checkBytes, checkInteger } from './check-bytes.js';

/** `count` images of `height` x `width` pixels with `channels` bytes each; what every loader returns. */
export interface ImageBatch {
  /** (count, height, width, channels): bytes 0…255, or levels where `values` says so. */
  data: Uint8Array;
  count: number;
  height: number;
  width: number;
  channels: number;
  /** (count), class of each image. */
  labels?: Uint8Array;
  /** Name of each class: that of label 0, of label 1, … */
  classNames?: string[];
  /**
   * `'bytes'`: 0…255, which a model turns into its levels (`floor(byte * levels / 256)`). `'levels'`: levels themselves,
   * 0…levels - 1, as of masks, label maps and codes. Without it the data count as bytes, and a model refuses them where
   * they look like levels (ERR_IMAGE_VALUES). docs/levels.md tells more.
   */
  values?: ImageValues;
}

/** What the numbers of an {@link ImageBatch} are. */
export type ImageValues = 'bytes' | 'levels';
export const imageValues: readonly ImageValues[] = ['bytes', 'levels'];

const MAXIMUM_SIDE = 2 ** 24;

/**
 * Throws unless `images` is a well-formed ImageBatch of at least one image.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE (a size below 1 or not an integer), ERR_BUFFER_SIZE
 * (`data` is not count*height*width*channels bytes, `labels` not count bytes), ERR_INVALID_ARG_VALUE (unknown `values`,
 * `classNames` that are no texts or do not name every label), ERR_DETACHED.
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
 * The images at `indices` (repeats allowed), copied in that order, labels too.
 * @throws PixelCnnError those of checkImageBatch, ERR_OUT_OF_RANGE for an empty list or an index outside [0, count).
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
 * The images [start, end) as a view on the same memory: nothing is copied.
 * @throws PixelCnnError those of checkImageBatch, ERR_OUT_OF_RANGE unless 0 <= start < end <= count.
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
