// Unpacks gzip files as `gzip -d` does, but never much more of them than is asked for.
import { constants, crc32, type InflateRaw, inflateRawSync } from 'node:zlib';
import { check, PixelCnnError } from '../errors.js';
import { errorCode } from '../realm.js';

/** What the Sync functions of node:zlib return with `info: true`. @types/node does not declare it. */
interface InflateInfo {
  buffer: Buffer;
  engine: InflateRaw;
}

/**
 * Limit of the number of members. Parallel compressors write one member for every 64 KiB or so. Each member
 * takes some microseconds to unpack even when it is empty, so that very many of them would block the process.
 */
const MAXIMUM_MEMBERS = 2 ** 16;

function zlibCode(error: unknown): string {
  return errorCode(error) ?? '';
}

/**
 * Converts an error of zlib. An error without a code comes from a failed memory allocation, for which the
 * file is not to blame, and is returned unchanged.
 */
function gzipError(cause: unknown, where: string): unknown {
  if (zlibCode(cause) === '') return cause;
  return new PixelCnnError('IDX_GZIP', `damaged gzip data${where}: ${zlibCode(cause)}`, { cause });
}

/** Whether `bytes` starts with the gzip signature. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * Whether a member starts at `at`. A gzip file is one member or several, one after the other. Like `gzip -d`,
 * we treat anything else that follows a member, such as padding zeros, as the end of the data.
 */
function hasMember(bytes: Uint8Array, at: number, count: number, where: string): boolean {
  if (!isGzip(bytes.subarray(at, at + 2))) return false;
  check(count < MAXIMUM_MEMBERS, 'IDX_LIMIT', () => `more than ${MAXIMUM_MEMBERS} gzip members${where}`);
  return true;
}

/**
 * Returns the offset of the compressed data of the member at `at`. They follow its header with the optional
 * extra field, name, comment and checksum (RFC 1952 §2.3).
 */
function dataStart(bytes: Uint8Array, at: number, where: string): number {
  const flags = bytes[at + 3] ?? 0;
  check(at + 18 <= bytes.length && bytes[at + 2] === 8 && (flags & 0xe0) === 0, 'IDX_GZIP', () => {
    return `damaged gzip header (${bytes.length - at} bytes, method ${bytes[at + 2]}, flags ${flags})${where}`;
  });
  let end = at + 10;
  if (flags & 4) end += 2 + ((bytes[end] as number) | ((bytes[end + 1] as number) << 8));
  for (const flag of [8, 16]) {
    if (!(flags & flag)) continue; // the name and the comment end with a zero byte
    const zero = bytes.indexOf(0, end);
    end = zero < 0 ? bytes.length : zero + 1;
  }
  if (flags & 2) {
    const stated = (bytes[end] as number) | ((bytes[end + 1] as number) << 8);
    const sum = crc32(bytes.subarray(at, end)) & 0xffff;
    end += 2;
    check(end > bytes.length || stated === sum, 'IDX_GZIP', () => {
      return `gzip header checksum does not match${where}`;
    });
  }
  check(end + 8 <= bytes.length, 'IDX_GZIP', () => `gzip header of ${end - at} bytes leaves no data${where}`);
  return end;
}

/** Throws unless the checksum and length that follow a member, at `end`, are those of `data`. */
function checkTrailer(bytes: Uint8Array, end: number, data: Uint8Array, where: string): void {
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
}

/**
 * Unpacks the first `length` bytes of a deflate stream, or all bytes if there are fewer. `consumed` is the
 * number of bytes of `compressed` that were read, which is the length of the stream if it ended.
 *
 * A short stream can unpack to gigabytes, so it is not unpacked as a whole. Instead we search, by growth
 * and bisection, for a prefix of `compressed` that unpacks to at least `length` bytes but not to many more.
 */
function inflateStart(
  compressed: Uint8Array,
  length: number,
  where: string,
): { data: Uint8Array; consumed: number } {
  const most = length + 2 ** 16;
  let tooShort = 0;
  let tooLong = Number.POSITIVE_INFINITY;
  for (let prefix = 512; ; ) {
    try {
      const { buffer, engine } = inflateRawSync(compressed.subarray(0, prefix), {
        finishFlush: constants.Z_SYNC_FLUSH,
        maxOutputLength: most,
        info: true,
      }) as unknown as InflateInfo;
      const ended = engine.bytesWritten < prefix || prefix >= compressed.length;
      if (buffer.length >= length || ended) {
        return { data: buffer.subarray(0, length), consumed: engine.bytesWritten };
      }
      tooShort = prefix;
    } catch (cause) {
      if (zlibCode(cause) !== 'ERR_BUFFER_TOO_LARGE') throw gzipError(cause, where);
      tooLong = prefix;
    }
    prefix = tooLong < Number.POSITIVE_INFINITY ? (tooShort + tooLong) >> 1 : prefix * 4;
  }
}

/**
 * Returns the first `length` unpacked bytes of a gzip file, or all if there are fewer. Checksums are not
 * verified, because they cover the whole member. Little more than `length` bytes is unpacked, even if the
 * file unpacks to gigabytes.
 */
export function gunzipStart(bytes: Uint8Array, length: number, where: string): Uint8Array {
  const parts: Uint8Array[] = [];
  let missing = length;
  for (let at = 0; missing > 0 && hasMember(bytes, at, parts.length, where); ) {
    const start = dataStart(bytes, at, where);
    const { data, consumed } = inflateStart(bytes.subarray(start), missing, where);
    parts.push(data);
    missing -= data.length;
    at = start + consumed + 8;
  }
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

/**
 * Unpacks a gzip file that must hold exactly `size` bytes, in one member or several. As with `gzip -d`, other
 * bytes after the last member are ignored.
 * @throws PixelCnnError IDX_LIMIT if the file holds more bytes than `size`, without unpacking them, or too
 * many members; IDX_TRUNCATED if it holds fewer.
 */
export function gunzipExactly(bytes: Uint8Array, size: number, where: string): Uint8Array {
  const tooMany = (cause?: unknown) =>
    new PixelCnnError('IDX_LIMIT', `gzip data unpack to more than the ${size} bytes stated${where}`, {
      cause,
    });
  const parts: Uint8Array[] = [];
  let missing = size;
  let at = 0;
  do {
    const start = dataStart(bytes, at, where);
    let result: InflateInfo;
    try {
      result = inflateRawSync(bytes.subarray(start), {
        maxOutputLength: Math.max(1, missing),
        info: true,
      }) as unknown as InflateInfo;
    } catch (cause) {
      throw zlibCode(cause) === 'ERR_BUFFER_TOO_LARGE' ? tooMany(cause) : gzipError(cause, where);
    }
    const { buffer, engine } = result;
    if (buffer.length > missing) throw tooMany();
    const end = start + engine.bytesWritten;
    checkTrailer(bytes, end, buffer, where);
    parts.push(buffer);
    missing -= buffer.length;
    at = end + 8;
  } while (hasMember(bytes, at, parts.length, where));
  check(missing === 0, 'IDX_TRUNCATED', () => {
    return `gzip data are ${size - missing} bytes, ${size} stated${where}`;
  });
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}
