// Bounded reading of gzip files: what `gzip -d` unpacks, every checksum verified, and never more than is asked for.
import { constants, crc32, type InflateRaw, inflateRawSync } from 'node:zlib';
import { check, PixelCnnError } from '../errors.js';
import { errorCode } from '../realm.js';

/** What the Sync functions of node:zlib return under `info: true`; @types/node does not know it. */
interface InflateInfo {
  buffer: Buffer;
  engine: InflateRaw;
}

/** Compressors in parallel write one member for some 64 KiB; each costs some microseconds however little it holds. */
const MAXIMUM_MEMBERS = 2 ** 16;

function zlibCode(error: unknown): string {
  return errorCode(error) ?? '';
}

/** The error for what zlib threw; memory that cannot be had, which has no code, says nothing of the file. */
function damaged(cause: unknown, where: string): unknown {
  if (zlibCode(cause) === '') return cause;
  return new PixelCnnError('IDX_GZIP', `damaged gzip data${where}: ${zlibCode(cause)}`, { cause });
}

/** True when `bytes` starts like a gzip file. */
export function isGzip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x1f && bytes[1] === 0x8b;
}

/**
 * True when a member starts at `at`: the first one or one that follows another. What else follows a member, zeros or
 * garbage, is the end of the data for `gzip -d`.
 */
function hasMember(bytes: Uint8Array, at: number, count: number, where: string): boolean {
  if (!isGzip(bytes.subarray(at, at + 2))) return false;
  check(count < MAXIMUM_MEMBERS, 'IDX_LIMIT', () => `more than ${MAXIMUM_MEMBERS} gzip members${where}`);
  return true;
}

/**
 * Where the data of the member at `at` start, behind its header with its extra field, name and comment (RFC 1952 §2.3).
 * @throws PixelCnnError IDX_GZIP.
 */
function dataStart(bytes: Uint8Array, at: number, where: string): number {
  const flags = bytes[at + 3] ?? 0;
  check(at + 18 <= bytes.length && bytes[at + 2] === 8 && (flags & 0xe0) === 0, 'IDX_GZIP', () => {
    return `damaged gzip header (${bytes.length - at} bytes, method ${bytes[at + 2]}, flags ${flags})${where}`;
  });
  let end = at + 10;
  if (flags & 4) end += 2 + ((bytes[end] as number) | ((bytes[end + 1] as number) << 8));
  for (const flag of [8, 16]) {
    if (!(flags & flag)) continue; // name, comment: end with a zero byte
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

/** Throws unless checksum and length behind a member, at `end`, are those of `data`. */
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
 * The first `length` bytes of a deflate stream, or all if there are fewer, and how many bytes of `compressed` it took
 * where it ended. Looks for a prefix that unpacks to enough but not to much more, for there is no telling how much
 * the rest unpacks to.
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
      if (zlibCode(cause) !== 'ERR_BUFFER_TOO_LARGE') throw damaged(cause, where);
      tooLong = prefix;
    }
    prefix = tooLong < Number.POSITIVE_INFINITY ? (tooShort + tooLong) >> 1 : prefix * 4;
  }
}

/**
 * The first `length` unpacked bytes, or all if there are fewer, not verified by the checksums; unpacks little more than
 * that, whatever follows.
 * @throws PixelCnnError IDX_GZIP, IDX_LIMIT (too many members).
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
 * Unpacks a gzip file that must hold exactly `size` bytes, as `gzip -d` does: in one member or several one after the
 * other; zeros or other bytes behind the last one are passed over.
 * @throws PixelCnnError IDX_GZIP; IDX_LIMIT when there are more bytes than `size` (unpacking stops there) or too many
 * members; IDX_TRUNCATED when there are fewer bytes.
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
      throw zlibCode(cause) === 'ERR_BUFFER_TOO_LARGE' ? tooMany(cause) : damaged(cause, where);
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
