// Defines ImageBatch, a set of equally sized images, and RasterImage, a single image.
import { check, checkInteger, PixelCnnError } from '../errors.js';
import { isFloat32Array, isUint16Array } from '../realm.js';
import { show } from '../show.js';
import { checkArray, checkBytes } from './check-array.js';

/** `count` images of `height` x `width` pixels with `channels` bytes each. All loaders return one. */
export interface ImageBatch {
  /** (count, height, width, channels): bytes 0…255, or levels where `values` says so. */
  data: Uint8Array;
  count: number;
  height: number;
  width: number;
  channels: number;
  /** (count): the class of each image, from 0 on. A Uint16Array serves more than 256 classes. */
  labels?: Uint8Array | Uint16Array;
  /** The name of each class: that of label 0, of label 1, and so on. */
  classNames?: string[];
  /**
   * What the numbers in `data` are. `'bytes'` are 0…255, and a model converts them to its levels (`floor(byte
   * * levels / 256)`). `'levels'` are 0…levels - 1 already, as in masks, label maps and codes. If it is not
   * given, the data count as bytes, and a model refuses them if they look like levels (ERR_IMAGE_VALUES). See
   * docs/levels.md.
   */
  values?: ImageValues;
  /** (count, d) for any d >= 1: a vector for each image, such as the output of another network. All finite. */
  features?: Float32Array;
  /** (count, height, width, d) for any d >= 1: a vector for each pixel, such as a mask. All finite. */
  map?: Float32Array;
}

/** The arrays of an {@link ImageBatch}. Each has equally many numbers for every image. */
export type ImageArray = Uint8Array | Uint16Array | Float32Array;

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
 * Throws unless `images` is a well-formed ImageBatch of at least one image: its arrays have the sizes that
 * the other fields state, `classNames` has a name for every label, and `features` and `map` are finite.
 * `name` begins the message.
 */
export function checkImageBatch(images: unknown, name: string): asserts images is ImageBatch {
  check(typeof images === 'object' && images !== null, 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must be an ImageBatch {data, count, height, width, channels}, got ${show(images)}`;
  });
  const { data, count, height, width, channels, labels, classNames, values, features, map } =
    images as Record<keyof ImageBatch, unknown>;
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
  if (labels !== undefined) checkLabels(labels, n, classNames, name);
  if (features !== undefined) checkVectors(features, n, `${n} images`, `${name}.features`);
  if (map !== undefined) {
    const pixels = n * h * w;
    checkVectors(map, pixels, `${n}x${h}x${w} = ${pixels} pixels (count, height, width)`, `${name}.map`);
  }
}

function checkClassNames(value: unknown, name: string): asserts value is string[] | undefined {
  if (value === undefined) return;
  const texts = Array.isArray(value) && value.every((one) => typeof one === 'string');
  check(texts, 'ERR_INVALID_ARG_VALUE', () => `${name} must be an array of strings, got ${show(value)}`);
  if (new Set(value).size === value.length) return;
  const seen = new Set<string>();
  const twice = value.find((one) => seen.size === seen.add(one).size);
  throw new PixelCnnError('ERR_INVALID_ARG_VALUE', `${name} has the name ${show(twice)} twice`, {
    remedy: 'give each class a name of its own',
  });
}

function checkLabels(labels: unknown, count: number, classNames: string[] | undefined, name: string): void {
  checkArray(labels, `${name}.labels`, ['Uint8Array', 'Uint16Array']);
  check(labels.length === count, 'ERR_BUFFER_SIZE', () => {
    return `${name}.labels must hold one label for each of the ${count} images, got ${labels.length}`;
  });
  if (classNames === undefined) return;
  const unnamed = labels.findIndex((label) => label >= classNames.length);
  check(unnamed < 0, 'ERR_INVALID_ARG_VALUE', () => {
    return `${name}.classNames has ${classNames.length} names, label ${unnamed} is ${labels[unnamed]}`;
  });
}

/** Throws unless `value` holds a vector of finite numbers for each of `count` places. */
function checkVectors(value: unknown, count: number, places: string, name: string): void {
  checkArray(value, name, ['Float32Array']);
  check(value.length > 0 && value.length % count === 0, 'ERR_BUFFER_SIZE', () => {
    return `${name} must hold equally many numbers, at least one, for each of the ${places}, got ${value.length}`;
  });
  // A map may hold many millions of numbers, and a loop is several times as fast as `findIndex`.
  let finite = 0;
  while (finite < value.length && Number.isFinite(value[finite])) ++finite;
  check(finite === value.length, 'ERR_OUT_OF_RANGE', () => {
    return `${name} must hold finite numbers, got ${value[finite]} at ${finite}`;
  });
}

/**
 * Returns a batch of `count` images whose arrays are made by `change` from those of `images`. Everything else
 * stays.
 */
export function changeArrays(
  images: ImageBatch,
  count: number,
  change: <A extends ImageArray>(array: A) => A,
): ImageBatch {
  const { data, height, width, channels, labels, classNames, values, features, map } = images;
  return {
    data: change(data),
    count,
    height,
    width,
    channels,
    ...(labels && { labels: change(labels) }),
    ...(classNames && { classNames }),
    ...(values && { values }),
    ...(features && { features: change(features) }),
    ...(map && { map: change(map) }),
  };
}

/** Creates an array of the same type as `array`. That of a Buffer is Uint8Array. */
export function arrayLike<A extends ImageArray>(array: A, length: number): A {
  if (isFloat32Array(array)) return new Float32Array(length) as A;
  return (isUint16Array(array) ? new Uint16Array(length) : new Uint8Array(length)) as A;
}

/**
 * Copies the images at `indices`, with their labels, features and map, into a new batch in that order. An
 * index may appear several times.
 * @throws PixelCnnError ERR_OUT_OF_RANGE if `indices` is empty or an index is outside [0, count).
 */
export function selectImages(images: ImageBatch, indices: ArrayLike<number>): ImageBatch {
  checkImageBatch(images, 'images');
  const count = checkInteger(indices.length, 'indices.length', 1, 2 ** 32 - 1);
  for (let i = 0; i < count; ++i) checkInteger(indices[i], `indices[${i}]`, 0, images.count - 1);
  return changeArrays(images, count, (array) => {
    const size = array.length / images.count;
    const selected = arrayLike(array, count * size);
    for (let i = 0; i < count; ++i) {
      const from = (indices[i] as number) * size;
      selected.set(array.subarray(from, from + size), i * size);
    }
    return selected;
  });
}

/**
 * Returns the images from `start` up to, but not including, `end` (default: all the rest), with their labels,
 * features and map. The result shares the memory of `images`: nothing is copied.
 * @throws PixelCnnError ERR_OUT_OF_RANGE unless 0 <= start < end <= count.
 */
export function sliceImages(images: ImageBatch, start: number, end?: number): ImageBatch {
  checkImageBatch(images, 'images');
  const first = checkInteger(start, 'start', 0, images.count - 1);
  const last = checkInteger(end === undefined ? images.count : end, 'end', first + 1, images.count);
  return changeArrays(images, last - first, <A extends ImageArray>(array: A) => {
    const size = array.length / images.count;
    return array.subarray(first * size, last * size) as A;
  });
}
