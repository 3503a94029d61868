// Reads safetensors files strictly: the whole file is checked before anything in it is used.
import { checkBytes, plainBytes } from '../data/check-array.js';
import { check } from '../errors.js';
import { inFile } from '../show.js';
import { foreignModel } from './foreign-model.js';
import { type HeaderValue, parseHeaderJson } from './header-json.js';
import {
  CHECKSUM_KEY,
  checkName,
  checksum,
  checksumOffset,
  MAXIMUM_DIMENSION,
  MAXIMUM_HEADER,
  MAXIMUM_RANK,
  MAXIMUM_TENSORS,
  MAXIMUM_UINT64,
  RESERVED_NAMES,
} from './safetensors-format.js';
import { checkElements, DTYPE_BITS, type SafetensorsTensor } from './tensor-elements.js';

export { CHECKSUM_KEY } from './safetensors-format.js';
export { encodeSafetensors } from './safetensors-writer.js';
export { float32Of, type SafetensorsDtype, type SafetensorsTensor } from './tensor-elements.js';

export interface SafetensorsFile {
  /** The `__metadata__` entry, as an object without prototype. */
  metadata: Record<string, string>;
  /** The tensors in the order of the header. Their `data` are views of the parsed bytes. */
  tensors: Map<string, SafetensorsTensor>;
}

export interface ParseSafetensorsOptions {
  /** The name of the file in error messages. */
  file?: string;
  /** Whether to accept NaN and infinity in floating-point tensors; default false. */
  allowNonfinite?: boolean;
}

const FIELDS = ['dtype', 'shape', 'data_offsets'];

interface TensorEntry {
  name: string;
  dtype: string;
  shape: number[];
  begin: number;
  end: number;
}

/** Returns an integer in [0, 2^64). `code` is that of the error for an integer outside. */
function checkUnsigned(value: HeaderValue, code: string, name: string): bigint {
  check(value.kind === 'integer', 'CKPT_SCHEMA', () => {
    return `${name} must be an integer, got ${value.kind === 'other' ? value.text.slice(0, 40) : `a JSON ${value.kind}`}`;
  });
  check(value.value >= 0n && value.value <= MAXIMUM_UINT64, code, () => {
    return `${name} must be in [0, 2^64), got ${value.value}`;
  });
  return value.value;
}

/**
 * Checks the header entry of one tensor: its fields, dtype and shape, and that its byte range fits the shape.
 */
function readEntry(name: string, value: HeaderValue, where: string): TensorEntry {
  checkName(name, where);
  const of = ` of tensor ${JSON.stringify(name)}${where}`;
  check(
    value.kind === 'object',
    'CKPT_SCHEMA',
    () => `entry must be an object, got a JSON ${value.kind}${of}`,
  );
  const { fields } = value;
  const [dtype, shape, offsets] = FIELDS.map((field) => fields.get(field));
  const complete = dtype !== undefined && shape !== undefined && offsets !== undefined;
  check(complete && fields.size === FIELDS.length, 'CKPT_SCHEMA', () => {
    return `fields must be ${FIELDS.join(', ')}, got ${[...fields.keys()].slice(0, 8).join(', ').slice(0, 200)}${of}`;
  });
  check(
    dtype?.kind === 'string',
    'CKPT_SCHEMA',
    () => `dtype must be a string, got a JSON ${dtype?.kind}${of}`,
  );
  const bits = DTYPE_BITS.get(dtype.value);
  check(
    bits !== undefined,
    'CKPT_DTYPE',
    () => `unknown dtype ${JSON.stringify(dtype.value.slice(0, 40))}${of}`,
  );
  check(
    shape?.kind === 'array',
    'CKPT_SCHEMA',
    () => `shape must be an array, got a JSON ${shape?.kind}${of}`,
  );
  check(offsets?.kind === 'array' && offsets.items.length === 2, 'CKPT_SCHEMA', () => {
    return `data_offsets must be two integers, got ${offsets?.kind === 'array' ? offsets.items.length : offsets?.kind}${of}`;
  });
  const sizes = shape.items.map((item, i) => checkUnsigned(item, 'CKPT_SHAPE', `shape[${i}]${of}`));
  const [begin = 0n, end = 0n] = offsets.items.map((item, i) =>
    checkUnsigned(item, 'CKPT_OFFSET', `data_offsets[${i}]${of}`),
  );
  check(begin <= end && end <= BigInt(Number.MAX_SAFE_INTEGER), 'CKPT_OFFSET', () => {
    return `data_offsets must be increasing and below 2^53, got [${begin}, ${end}]${of}`;
  });
  let count = 1n;
  for (const size of sizes) {
    count *= size;
    check(
      count <= MAXIMUM_UINT64,
      'CKPT_OVERFLOW',
      () => `shape [${sizes.join(', ')}] exceeds 2^64 elements${of}`,
    );
  }
  check(count * BigInt(bits) <= MAXIMUM_UINT64 * 8n, 'CKPT_OVERFLOW', () => {
    return `shape [${sizes.join(', ')}] of ${dtype.value} exceeds 2^64 bytes${of}`;
  });
  check(sizes.length <= MAXIMUM_RANK, 'CKPT_LIMIT', () => `rank ${sizes.length}, limit ${MAXIMUM_RANK}${of}`);
  check(
    sizes.every((size) => size <= MAXIMUM_DIMENSION),
    'CKPT_LIMIT',
    () => {
      return `shape [${sizes.join(', ')}] has a dimension above 2^31-1${of}`;
    },
  );
  check(
    (count * BigInt(bits)) % 8n === 0n,
    'CKPT_DTYPE',
    () => `${count} elements of ${dtype.value} end inside a byte${of}`,
  );
  const bytes = (count * BigInt(bits)) / 8n;
  check(end - begin === bytes, 'CKPT_SIZE_MISMATCH', () => {
    return `shape [${sizes.join(', ')}] of ${dtype.value} needs ${bytes} bytes, data_offsets give ${end - begin}${of}`;
  });
  return { name, dtype: dtype.value, shape: sizes.map(Number), begin: Number(begin), end: Number(end) };
}

/** Checks that the ranges of all tensors together cover the data section exactly once. */
function checkLayout(entries: TensorEntry[], dataBytes: number, where: string): void {
  let cursor = 0;
  for (const { name, begin, end } of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    const code = begin === end ? 'CKPT_OFFSET' : begin < cursor ? 'CKPT_OVERLAP' : 'CKPT_HOLE';
    check(begin === cursor, code, () => {
      return `data of tensor ${JSON.stringify(name)} must start at ${cursor}, data_offsets say [${begin}, ${end}]${where}`;
    });
    cursor = end;
  }
  check(
    cursor <= dataBytes,
    'CKPT_TRUNCATED',
    () => `tensors take ${cursor} bytes, ${dataBytes} are present${where}`,
  );
  check(
    cursor === dataBytes,
    'CKPT_TRAILING_DATA',
    () => `${dataBytes - cursor} bytes after the last tensor${where}`,
  );
}

function readMetadata(value: HeaderValue, where: string): Record<string, string> {
  const metadata: Record<string, string> = Object.create(null);
  check(
    value.kind === 'object',
    'CKPT_SCHEMA',
    () => `__metadata__ must be an object, got a JSON ${value.kind}${where}`,
  );
  for (const [key, entry] of value.fields) {
    const shown = JSON.stringify(key.slice(0, 80));
    check(
      entry.kind === 'string',
      'CKPT_SCHEMA',
      () => `__metadata__ ${shown} must be a string, got a JSON ${entry.kind}${where}`,
    );
    check(!RESERVED_NAMES.includes(key), 'CKPT_NAME', () => `__metadata__ key ${shown} is reserved${where}`);
    metadata[key] = entry.value;
  }
  return metadata;
}

function checkChecksum(bytes: Uint8Array, headerEnd: number, stated: string, where: string): void {
  const at = /^[0-9a-f]{64}$/.test(stated) ? checksumOffset(bytes.subarray(0, headerEnd), stated) : -1;
  const actual = at < 0 ? 'none: the entry is malformed' : checksum(bytes, at);
  check(
    actual === stated,
    'CKPT_CHECKSUM',
    () => `SHA-256 is ${actual}, the file states ${stated.slice(0, 64)}${where}`,
  );
}

/**
 * Reads a safetensors file from memory. Everything is checked before anything is returned, and nothing larger
 * than the header is allocated. It is stricter than the reference reader: it refuses duplicate and suspicious
 * names, unknown fields, more than 8 dimensions, dimensions above 2^31-1, more than 65,536 tensors, booleans
 * other than 0 and 1, and (by default) NaN and infinity.
 * @throws PixelCnnError with a code CKPT_*. CKPT_FORMAT is for a recognised file of another format, which it
 * names.
 */
export function parseSafetensors(bytes: Uint8Array, options: ParseSafetensorsOptions = {}): SafetensorsFile {
  checkBytes(bytes, 'bytes');
  try {
    return parseChecked(bytes, options);
  } catch (error) {
    throw foreignModel(bytes, options.file, error) ?? error;
  }
}

function parseChecked(bytes: Uint8Array, options: ParseSafetensorsOptions): SafetensorsFile {
  const { file, allowNonfinite = false } = options;
  const where = inFile(file);
  check(
    bytes.length >= 8,
    'CKPT_HEADER_TOO_SMALL',
    () => `${bytes.length} bytes cannot hold the header length${where}`,
  );
  const headerBytes = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  check(headerBytes <= BigInt(MAXIMUM_HEADER), 'CKPT_HEADER_TOO_LARGE', () => {
    return `header of ${headerBytes} bytes, limit ${MAXIMUM_HEADER}${where}`;
  });
  check(headerBytes <= BigInt(bytes.length - 8), 'CKPT_HEADER_LENGTH', () => {
    return `header of ${headerBytes} bytes, but only ${bytes.length - 8} follow${where}`;
  });
  const headerEnd = 8 + Number(headerBytes);
  const entries: TensorEntry[] = [];
  let metadata: Record<string, string> = Object.create(null);
  parseHeaderJson(bytes.subarray(8, headerEnd), where, (name, value) => {
    if (name === '__metadata__') metadata = readMetadata(value, where);
    else entries.push(readEntry(name, value, where));
    check(
      entries.length <= MAXIMUM_TENSORS,
      'CKPT_LIMIT',
      () => `more than ${MAXIMUM_TENSORS} tensors${where}`,
    );
  });
  checkLayout(entries, bytes.length - headerEnd, where);
  const stated = metadata[CHECKSUM_KEY];
  if (stated !== undefined) checkChecksum(bytes, headerEnd, stated, where);
  const tensors = new Map<string, SafetensorsTensor>();
  for (const { name, dtype, shape, begin, end } of entries) {
    const tensor = {
      dtype,
      shape,
      data: plainBytes(bytes.subarray(headerEnd + begin, headerEnd + end)),
    } as SafetensorsTensor;
    checkElements(tensor, allowNonfinite, ` in tensor ${JSON.stringify(name)}${where}`);
    tensors.set(name, tensor);
  }
  return { metadata, tensors };
}
