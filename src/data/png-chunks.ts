// The chunks of a PNG file in order: which are the image, which are passed over, and which refuse the file.
import { crc32 } from 'node:zlib';
import { check, PixelCnnError } from '../errors.js';
import {
  type CheckedPngLimits,
  checkLimit,
  type Forgive,
  NOTES,
  type PngHeader,
  parseHeader,
} from './png-header.js';
import { parsePalette, parseTransparency } from './png-palette.js';
import type { PngPalette } from './png-pixels.js';

/** What of a file makes its image. */
export interface PngParts {
  header: PngHeader;
  palette: PngPalette;
  /** The zlib stream. */
  compressed: Uint8Array;
  /** False when there is no IEND: the image data are whole only if they unpack to the whole image. */
  ended: boolean;
  /** The first eXIf chunk whose checksum fits. */
  exif: Uint8Array | undefined;
}

/** An animation of several images, by its acTL chunk. */
function isAnimation(data: Uint8Array): boolean {
  return data.length === 8 && Buffer.from(data).readUInt32BE(0) > 1;
}

/** Why there is no whole chunk at `at`, whose type would be `type`; `first` is true for the first one. */
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
 * Walks the chunks: length, place, checksum and content of each. Costs little more for a chunk than its checksum and
 * keeps none but those of the image.
 * @throws PixelCnnError the PNG_* codes of decodePng, but for those of unpacked data.
 */
export function parseChunks(
  bytes: Uint8Array,
  limits: CheckedPngLimits,
  where: string,
  forgive: Forgive,
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
      forgive(problem.code, message, NOTES.noEnd);
      break;
    }
    const length = view.getUint32(at);
    const data = bytes.subarray(at + 8, at + 8 + length);
    const intact = crc32(bytes.subarray(at + 4, at + 8 + length)) === view.getUint32(at + 8 + length);
    const critical = type.charCodeAt(0) < 97;
    if (!intact) {
      const message = `checksum of chunk ${type} at ${at} does not match${where}`;
      // tRNS is no critical chunk, but decides pixels, and viewers differ in what they make of a damaged one.
      if (critical || type === 'tRNS') throw new PixelCnnError('PNG_CRC', message);
      forgive('PNG_CRC', message, NOTES.checksum);
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
      header = parseHeader(data, limits, where, forgive);
    } else if (type === 'PLTE') {
      parsePalette(data, started, palette, parts.length > 0, where, forgive);
    } else if (type === 'tRNS') {
      const late = parts.length > 0;
      palette.transparency = parseTransparency(data, started, palette, late, where, forgive);
    } else if (type === 'IDAT' && dataEnded) {
      forgive('PNG_CHUNK_ORDER', `IDAT after ${previous}${where}`, NOTES.trailing);
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
      if (length > 0) forgive('PNG_CHUNK_LENGTH', `IEND of ${length} bytes${where}`, NOTES.trailing);
      if (at < bytes.length) {
        forgive('PNG_TRAILING_DATA', `${bytes.length - at} bytes after IEND${where}`, NOTES.trailing);
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
