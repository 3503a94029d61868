// Parses the chunks of a PNG file and collects those that make the image.
import { crc32 } from 'node:zlib';
import { check, PixelCnnError } from '../errors.js';
import {
  type CheckedPngLimits,
  checkLimit,
  NOTES,
  type PngHeader,
  parseHeader,
  type Tolerate,
} from './png-header.js';
import { parsePalette, parseTransparency } from './png-palette.js';
import type { PngPalette } from './png-pixels.js';

/** The parts of a file that are needed to decode its image. */
export interface PngParts {
  header: PngHeader;
  palette: PngPalette;
  /** The zlib stream of the scanlines: the data of all IDAT chunks. */
  compressed: Uint8Array;
  /**
   * Whether there is an IEND chunk. If not, the image may be cut off, which shows when its data are unpacked.
   */
  ended: boolean;
  /** The first eXIf chunk with a correct checksum. */
  exif: Uint8Array | undefined;
}

/** Whether an acTL chunk announces more than one image. */
function isAnimation(data: Uint8Array): boolean {
  return data.length === 8 && Buffer.from(data).readUInt32BE(0) > 1;
}

/**
 * Says why there is no complete chunk at `at`, or returns undefined if there is one. `type` is what the file
 * has in the place of the chunk's type, and `first` is true for the first chunk.
 */
function frameProblem(
  bytes: Uint8Array,
  at: number,
  type: string,
  first: boolean,
): { code: string; message: string } | undefined {
  if (at + 12 > bytes.length) {
    return { code: 'PNG_TRUNCATED', message: `file ends after ${bytes.length} bytes, without IEND` };
  }
  if (!/^[A-Za-z]{4}$/.test(type)) {
    return { code: 'PNG_CHUNK_TYPE', message: `chunk type ${JSON.stringify(type)} at ${at}` };
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0);
  if (length < 2 ** 31 && at + 12 + length <= bytes.length) return undefined;
  return {
    code: first && length === 13 ? 'PNG_TRUNCATED' : 'PNG_CHUNK_LENGTH',
    message: `chunk ${type} at ${at} states ${length} bytes, the file has ${bytes.length}`,
  };
}

/**
 * Checks the length, order, checksum and content of each chunk and returns the parts of the image. Chunks
 * that do not belong to the image cost little more time than their checksums, and no memory. `where` is
 * appended to messages. `tolerate` is called for departures from the standard that viewers accept.
 */
export function parseChunks(
  bytes: Uint8Array,
  limits: CheckedPngLimits,
  where: string,
  tolerate: Tolerate,
  note: (text: string) => void,
): PngParts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const palette: PngPalette = {};
  const parts: Uint8Array[] = [];
  let compressedBytes = 0;
  let header: PngHeader | undefined;
  let exif: Uint8Array | undefined;
  let previous = '';
  let dataEnded = false;
  let ended = false;
  let count = 1;
  for (let at = 8; !ended; ++count) {
    checkLimit(
      limits,
      'maxChunks',
      count,
      () => `at least ${count} chunks${where}`,
      Math.ceil(bytes.length / 12),
    );
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const problem = frameProblem(bytes, at, type, header === undefined);
    if (problem !== undefined) {
      const message = `${problem.message}${where}`;
      if (parts.length === 0 || type === 'IDAT') throw new PixelCnnError(problem.code, message);
      tolerate(problem.code, message, NOTES.noEnd);
      break;
    }
    const length = view.getUint32(at);
    const data = bytes.subarray(at + 8, at + 8 + length);
    const intact = crc32(bytes.subarray(at + 4, at + 8 + length)) === view.getUint32(at + 8 + length);
    const critical = type.charCodeAt(0) < 97;
    if (!intact) {
      const message = `checksum of chunk ${type} at ${at} does not match${where}`;
      // tRNS is no critical chunk, but it changes pixels, and viewers do not agree on how to show a damaged
      // one.
      if (critical || type === 'tRNS') throw new PixelCnnError('PNG_CRC', message);
      tolerate('PNG_CRC', message, NOTES.checksum);
    }
    const started = header;
    check((type === 'IHDR') === (started === undefined), 'PNG_CHUNK_ORDER', () => {
      return started ? `second IHDR at ${at}${where}` : `first chunk must be IHDR, got ${type}${where}`;
    });
    at += 12 + length;
    if (type !== 'IDAT' && parts.length > 0) dataEnded = true;
    if (!intact) {
      previous = type;
      continue;
    }
    if (started === undefined) {
      header = parseHeader(data, limits, where, tolerate);
    } else if (type === 'PLTE') {
      parsePalette(data, started, palette, parts.length > 0, where, tolerate);
    } else if (type === 'tRNS') {
      const late = parts.length > 0;
      palette.transparency = parseTransparency(data, started, palette, late, where, tolerate);
    } else if (type === 'IDAT' && dataEnded) {
      tolerate('PNG_CHUNK_ORDER', `IDAT after ${previous}${where}`, NOTES.trailing);
    } else if (type === 'IDAT') {
      compressedBytes += length;
      checkLimit(
        limits,
        'maxCompressedBytes',
        compressedBytes,
        () => `image data of at least ${compressedBytes} compressed bytes${where}`,
        bytes.length,
      );
      parts.push(data);
    } else if (type === 'IEND') {
      if (length > 0) tolerate('PNG_CHUNK_LENGTH', `IEND of ${length} bytes${where}`, NOTES.trailing);
      if (at < bytes.length) {
        tolerate('PNG_TRAILING_DATA', `${bytes.length - at} bytes after IEND${where}`, NOTES.trailing);
      }
      ended = true;
    } else if (type === 'acTL' && !dataEnded && isAnimation(data)) {
      note(NOTES.animation);
    } else if (type === 'eXIf') {
      exif ??= data;
    } else {
      check(!critical, 'PNG_CRITICAL_CHUNK', () => `unknown critical chunk ${type}${where}`);
    }
    previous = type;
  }
  if (header === undefined || parts.length === 0) {
    throw new PixelCnnError('PNG_MISSING_DATA', `no IDAT chunk${where}`);
  }
  check(header.colorType !== 3 || palette.colors !== undefined, 'PNG_PALETTE', () => `no palette${where}`);
  const compressed = parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
  return { header, palette, compressed, ended, exif };
}
