// Decodes IDX, the file format of the MNIST family: a big-endian type, sizes and elements, and nothing else.
import { check, PixelCnnError } from '../errors.js';
import { isUint8Array } from '../realm.js';
import { inFile } from '../show.js';
import { checkBytes, plainBytes } from './check-array.js';
import { gunzipExactly, gunzipStart, isGzip } from './gzip.js';
import type { ImageBatch } from './image-batch.js';

export type IdxType = 'uint8' | 'int8' | 'int16' | 'int32' | 'float32' | 'float64';
export type IdxData = Uint8Array | Int8Array | Int16Array | Int32Array | Float32Array | Float64Array;

/** An IDX array: `data` is row-major in the byte order of this machine, `shape` outermost first. */
export interface IdxArray {
  type: IdxType;
  shape: number[];
  data: IdxData;
}

export interface IdxOptions {
  /** Name for error messages. */
  file?: string;
  /** Largest data section in bytes; default 2^30. */
  maxBytes?: number;
}

const TYPES = new Map<number, { type: IdxType; bytes: number }>([
  [0x08, { type: 'uint8', bytes: 1 }],
  [0x09, { type: 'int8', bytes: 1 }],
  [0x0b, { type: 'int16', bytes: 2 }],
  [0x0c, { type: 'int32', bytes: 4 }],
  [0x0d, { type: 'float32', bytes: 4 }],
  [0x0e, { type: 'float64', bytes: 8 }],
]);
const MAXIMUM_RANK = 4;
const MAXIMUM_HEADER = 4 + 4 * MAXIMUM_RANK;
const DEFAULT_MAXIMUM_BYTES = 2 ** 30;

interface IdxHeader {
  type: IdxType;
  shape: number[];
  headerBytes: number;
  /** Bytes of the elements. A bigint, because the product of the sizes can exceed 2^53. */
  dataBytes: bigint;
}

function parseHeader(bytes: Uint8Array, where: string): IdxHeader {
  check(
    bytes.length >= 4,
    'IDX_TRUNCATED',
    () => `an IDX file starts with 4 bytes, got ${bytes.length}${where}`,
  );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const hex = view.getUint32(0).toString(16).padStart(8, '0');
  const gzip = view.getUint16(0) === 0x1f8b;
  check(view.getUint16(0) === 0, 'IDX_MAGIC', () => {
    return `an IDX file starts with two zero bytes, got 0x${hex}${where}${gzip ? ': this is gzip, unpack it first' : ''}`;
  });
  const element = TYPES.get(view.getUint8(2));
  check(element !== undefined, 'IDX_DTYPE', () => `unknown IDX type byte in magic 0x${hex}${where}`);
  const rank = view.getUint8(3);
  check(rank >= 1 && rank <= MAXIMUM_RANK, 'IDX_RANK', () => {
    return `an IDX array has 1 to ${MAXIMUM_RANK} dimensions, got ${rank}${where}`;
  });
  const headerBytes = 4 + 4 * rank;
  check(bytes.length >= headerBytes, 'IDX_TRUNCATED', () => {
    return `the header of ${rank} dimensions takes ${headerBytes} bytes, got ${bytes.length}${where}`;
  });
  const shape = Array.from({ length: rank }, (_, i) => view.getUint32(4 + 4 * i));
  const dataBytes = shape.reduce((product, size) => product * BigInt(size), BigInt(element.bytes));
  check(!shape.includes(0), 'IDX_SHAPE', () => `dimension of size 0 in shape ${shape.join('x')}${where}`);
  check(dataBytes < 2n ** 64n, 'IDX_OVERFLOW', () => `shape ${shape.join('x')} exceeds 2^64 bytes${where}`);
  return { type: element.type, shape, headerBytes, dataBytes };
}

/** Returns the size of the whole file that its header states, or undefined if that is no valid IDX header. */
export function idxFileBytes(start: Uint8Array): bigint | undefined {
  try {
    const { headerBytes, dataBytes } = parseHeader(start, '');
    return BigInt(headerBytes) + dataBytes;
  } catch {
    return undefined;
  }
}

function checkLimit(header: IdxHeader, maxBytes: number, where: string): void {
  check(header.dataBytes <= BigInt(maxBytes), 'IDX_LIMIT', () => {
    return `shape ${header.shape.join('x')} of ${header.type} needs ${header.dataBytes} bytes, limit ${maxBytes}${where}`;
  });
}

function readElements(bytes: Uint8Array, type: IdxType, where: string): IdxData {
  if (type === 'uint8') return plainBytes(bytes);
  if (type === 'int8') return Int8Array.from(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (type === 'int16') return Int16Array.from({ length: bytes.length / 2 }, (_, i) => view.getInt16(2 * i));
  if (type === 'int32') return Int32Array.from({ length: bytes.length / 4 }, (_, i) => view.getInt32(4 * i));
  const data =
    type === 'float32'
      ? Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i))
      : Float64Array.from({ length: bytes.length / 8 }, (_, i) => view.getFloat64(8 * i));
  for (let i = 0; i < data.length; ++i) {
    check(Number.isFinite(data[i]), 'IDX_NONFINITE', () => `element ${i} is ${data[i]}${where}`);
  }
  return data;
}

/**
 * Decodes an uncompressed IDX file of 1 to 4 dimensions. The data is a view of `bytes` for uint8 and a copy
 * for other types. Bytes after the last element, and floating-point elements that are not finite, are errors.
 */
export function parseIdx(bytes: Uint8Array, options: IdxOptions = {}): IdxArray {
  checkBytes(bytes, 'bytes');
  const { file, maxBytes = DEFAULT_MAXIMUM_BYTES } = options;
  const where = inFile(file);
  const header = parseHeader(bytes, where);
  const { type, shape, headerBytes, dataBytes } = header;
  const present = BigInt(bytes.length - headerBytes);
  check(present >= dataBytes, 'IDX_TRUNCATED', () => {
    return `shape ${shape.join('x')} of ${type} needs ${dataBytes} bytes, the file holds ${present}${where}`;
  });
  check(present === dataBytes, 'IDX_TRAILING_DATA', () => {
    return `${present - dataBytes} bytes after the ${dataBytes} bytes of shape ${shape.join('x')}${where}`;
  });
  checkLimit(header, maxBytes, where);
  return { type, shape, data: readElements(bytes.subarray(headerBytes), type, where) };
}

/**
 * Decodes an IDX file, plain or compressed with gzip. The IDX header is unpacked first, and then no more
 * bytes than it states, so that a small file cannot unpack to gigabytes.
 */
export function decodeIdx(bytes: Uint8Array, options: IdxOptions = {}): IdxArray {
  checkBytes(bytes, 'bytes');
  if (!isGzip(bytes)) return parseIdx(bytes, options);
  const { file, maxBytes = DEFAULT_MAXIMUM_BYTES } = options;
  const where = inFile(file);
  const header = parseHeader(gunzipStart(bytes, MAXIMUM_HEADER, where), where);
  checkLimit(header, maxBytes, where);
  return parseIdx(gunzipExactly(bytes, header.headerBytes + Number(header.dataBytes), where), options);
}

/**
 * Takes a uint8 array (count, height, width) or (count, height, width, channels) as images, without copying
 * it.
 */
export function idxImages(array: IdxArray, file?: string): ImageBatch {
  const { data, shape, type } = array;
  check(isUint8Array(data) && type === 'uint8', 'IDX_DTYPE', () => {
    return `images are uint8, got ${type}${inFile(file)}`;
  });
  const [count, height, width, channels = 1] = shape;
  if (shape.length < 3 || count === undefined || height === undefined || width === undefined) {
    throw new PixelCnnError(
      'IDX_RANK',
      `images have 3 or 4 dimensions, got shape ${shape.join('x')}${inFile(file)}`,
    );
  }
  return { data, count, height, width, channels };
}

/** Takes a uint8 array as the labels of `count` images. Each label must be below `classes` (default 256). */
export function idxLabels(
  array: IdxArray,
  count: number,
  options: { classes?: number; file?: string } = {},
): Uint8Array {
  const { classes = 256, file } = options;
  const { data, shape, type } = array;
  const where = inFile(file);
  check(isUint8Array(data) && type === 'uint8', 'IDX_DTYPE', () => `labels are uint8, got ${type}${where}`);
  check(
    shape.length === 1,
    'IDX_RANK',
    () => `labels have 1 dimension, got shape ${shape.join('x')}${where}`,
  );
  check(
    data.length === count,
    'IDX_COUNT_MISMATCH',
    () => `${count} images but ${data.length} labels${where}`,
  );
  const wrong = data.findIndex((label) => label >= classes);
  check(
    wrong < 0,
    'IDX_LABEL_RANGE',
    () => `label ${wrong} is ${data[wrong]}, outside [0, ${classes})${where}`,
  );
  return data;
}
