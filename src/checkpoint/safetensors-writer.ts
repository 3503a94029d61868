// Writes safetensors files. The same input always gives the same bytes.
import { checkBytes } from '../data/check-array.js';
import { check, checkInteger } from '../errors.js';
import { show } from '../show.js';
import {
  CHECKSUM_KEY,
  checkName,
  checksum,
  checksumOffset,
  MAXIMUM_DIMENSION,
  MAXIMUM_FILE,
  MAXIMUM_HEADER,
  MAXIMUM_RANK,
  MAXIMUM_TENSORS,
  RESERVED_NAMES,
  ZERO_CHECKSUM,
} from './safetensors-format.js';
import { DTYPE_BITS, type SafetensorsTensor } from './tensor-elements.js';

const LONE_SURROGATE = /\p{Surrogate}/u;

function checkTensor(name: string, tensor: SafetensorsTensor): void {
  checkName(name, '');
  const { dtype, shape, data } = tensor;
  const bits = DTYPE_BITS.get(dtype);
  check(bits !== undefined, 'ERR_INVALID_ARG_VALUE', () => `unknown dtype ${show(dtype)} of tensor ${name}`);
  check(Array.isArray(shape) && shape.length <= MAXIMUM_RANK, 'ERR_INVALID_ARG_VALUE', () => {
    return `shape of tensor ${name} must be an array of at most ${MAXIMUM_RANK} sizes, got ${show(shape)}`;
  });
  for (const [i, size] of shape.entries()) {
    checkInteger(size, `shape[${i}] of tensor ${name}`, 0, Number(MAXIMUM_DIMENSION));
  }
  checkBytes(data, `data of tensor ${name}`);
  const bytes = shape.reduce((product, size) => product * BigInt(size), BigInt(bits));
  check(BigInt(data.length) * 8n === bytes, 'ERR_BUFFER_SIZE', () => {
    return `tensor ${name}: ${dtype} [${shape.join(', ')}] needs ${Number(bytes) / 8} bytes, got ${data.length}`;
  });
}

/**
 * Encodes a safetensors file. Tensors are sorted by decreasing element size and then by name, as in the
 * reference writer, and metadata by key. The header is padded with spaces to a multiple of 8 bytes. With
 * `checksum` (default false) the metadata get a SHA-256 of the whole file under CHECKSUM_KEY. A checksum in
 * `metadata` is dropped.
 */
export function encodeSafetensors(
  tensors: ReadonlyMap<string, SafetensorsTensor>,
  metadata: Readonly<Record<string, string>> = {},
  options: { checksum?: boolean } = {},
): Uint8Array {
  check(
    tensors.size <= MAXIMUM_TENSORS,
    'CKPT_LIMIT',
    () => `${tensors.size} tensors, limit ${MAXIMUM_TENSORS}`,
  );
  for (const [name, tensor] of tensors) checkTensor(name, tensor);
  const bits = (tensor: SafetensorsTensor) => DTYPE_BITS.get(tensor.dtype) ?? 0;
  const order = [...tensors].sort(([a, x], [b, y]) => bits(y) - bits(x) || (a < b ? -1 : 1));
  // The metadata may come from another file, whose checksum would make this file unreadable.
  const entries = Object.entries(metadata).filter(([key]) => key !== CHECKSUM_KEY);
  if (options.checksum) entries.push([CHECKSUM_KEY, ZERO_CHECKSUM]);
  for (const [key, value] of entries) {
    check(
      typeof value === 'string' &&
        !LONE_SURROGATE.test(value) &&
        !LONE_SURROGATE.test(key) &&
        !RESERVED_NAMES.includes(key),
      'ERR_INVALID_ARG_VALUE',
      () => {
        return `metadata ${JSON.stringify(key)} must be a well-formed string under an unreserved key, got ${show(value)}`;
      },
    );
  }
  const fields = entries
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
  const parts = fields.length > 0 ? [`"__metadata__":{${fields.join(',')}}`] : [];
  let end = 0;
  for (const [name, { dtype, shape, data }] of order) {
    const offsets = [end, end + data.length];
    parts.push(`${JSON.stringify(name)}:${JSON.stringify({ dtype, shape, data_offsets: offsets })}`);
    end += data.length;
  }
  const json = Buffer.from(`{${parts.join(',')}}`);
  const headerBytes = Math.ceil(json.length / 8) * 8;
  check(
    headerBytes <= MAXIMUM_HEADER,
    'CKPT_HEADER_TOO_LARGE',
    () => `header of ${headerBytes} bytes, limit ${MAXIMUM_HEADER}`,
  );
  check(8 + headerBytes + end <= MAXIMUM_FILE, 'CKPT_LIMIT', () => {
    return `a file of ${8 + headerBytes + end} bytes, limit ${MAXIMUM_FILE}`;
  });
  const bytes = new Uint8Array(8 + headerBytes + end).fill(0x20, 8, 8 + headerBytes);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(headerBytes), true);
  bytes.set(json, 8);
  let at = 8 + headerBytes;
  for (const [, { data }] of order) {
    bytes.set(data, at);
    at += data.length;
  }
  if (options.checksum) {
    const digitsAt = checksumOffset(bytes.subarray(0, 8 + headerBytes), ZERO_CHECKSUM);
    bytes.set(Buffer.from(checksum(bytes, digitsAt)), digitsAt);
  }
  return bytes;
}
