// Bounded gzip: exactly one member, exactly the expected size, checksums verified (node:zlib alone is laxer).
import { constants, crc32, gunzipSync, type InflateRaw, inflateRawSync } from 'node:zlib';
import { check, PixelCnnError } from '../errors.js';

/** What the Sync functions of node:zlib return under `info: true`; @types/node does not know it. */
interface InflateInfo {
  buffer: Buffer;
  engine: InflateRaw;
}

function zlibCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}

/** Length of the gzip header in bytes (RFC 1952 §2.3). */
function headerLength(bytes: Uint8Array, where: string): number {
  const flags = bytes[3] ?? 0;
  check(bytes.length >= 18 && bytes[2] === 8 && (flags & 0xe0) === 0, 'IDX_GZIP', () => {
    return `damaged gzip header (${bytes.length} bytes, method ${bytes[2]}, flags ${flags})${where}`;
  });
  let at = 10;
  if (flags & 4) at += 2 + ((bytes[at] as number) | ((bytes[at + 1] as number) << 8));
  for (const flag of [8, 16]) {
    if (!(flags & flag)) continue; // name, comment: end with a zero byte
    while (at < bytes.length && bytes[at] !== 0) ++at;
    ++at;
  }
  if (flags & 2) at += 2;
  check(at + 8 <= bytes.length, 'IDX_GZIP', () => `gzip header of ${at} bytes leaves no data${where}`);
  return at;
}

/**
 * The first `length` unpacked bytes, or all if there are fewer; unpacks little more than that.
 * @throws PixelCnnError IDX_GZIP.
 */
export function gunzipStart(bytes: Uint8Array, length: number, where: string): Uint8Array {
  for (let prefix = 512; ; prefix *= 4) {
    try {
      const start = gunzipSync(bytes.subarray(0, prefix), { finishFlush: constants.Z_SYNC_FLUSH });
      if (start.length >= length || prefix >= bytes.length) return start.subarray(0, length);
    } catch (cause) {
      throw new PixelCnnError('IDX_GZIP', `damaged gzip data${where}: ${zlibCode(cause)}`, { cause });
    }
  }
}

/**
 * Unpacks a gzip file that must hold one member of exactly `size` bytes and nothing after it.
 * @throws PixelCnnError IDX_GZIP; IDX_LIMIT when there are more bytes than `size` (unpacking stops there);
 * IDX_TRUNCATED when fewer.
 */
export function gunzipExactly(bytes: Uint8Array, size: number, where: string): Uint8Array {
  const start = headerLength(bytes, where);
  let result: InflateInfo;
  try {
    result = inflateRawSync(bytes.subarray(start), {
      maxOutputLength: size,
      info: true,
    }) as unknown as InflateInfo;
  } catch (cause) {
    if (zlibCode(cause) === 'ERR_BUFFER_TOO_LARGE') {
      throw new PixelCnnError('IDX_LIMIT', `gzip data unpack to more than the ${size} bytes stated${where}`, {
        cause,
      });
    }
    throw new PixelCnnError('IDX_GZIP', `damaged gzip data${where}: ${zlibCode(cause)}`, { cause });
  }
  const data = result.buffer;
  const end = start + result.engine.bytesWritten;
  check(
    end + 8 <= bytes.length,
    'IDX_GZIP',
    () => `gzip trailer cut off after ${bytes.length} bytes${where}`,
  );
  const trailer = new DataView(bytes.buffer, bytes.byteOffset + end, 8);
  check(trailer.getUint32(0, true) === crc32(data), 'IDX_GZIP', () => `gzip checksum does not match${where}`);
  check(trailer.getUint32(4, true) === data.length % 2 ** 32, 'IDX_GZIP', () => {
    return `gzip trailer states ${trailer.getUint32(4, true)} bytes, the data are ${data.length}${where}`;
  });
  check(
    end + 8 === bytes.length,
    'IDX_GZIP',
    () => `${bytes.length - end - 8} bytes after the gzip data${where}`,
  );
  check(
    data.length === size,
    'IDX_TRUNCATED',
    () => `gzip data are ${data.length} bytes, ${size} stated${where}`,
  );
  return data;
}
