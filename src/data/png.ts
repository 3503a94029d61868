// PNG files: an encoder for 8-bit images and a strict decoder (every checksum, every limit, no ancillary data).
import { crc32, deflateSync, type Inflate, inflateSync } from 'node:zlib';
import { check, PixelCnnError } from '../errors.js';
import { parseOptions } from '../options.js';
import { checkBytes, checkInteger, inFile, plainBytes } from './byte-array.js';
import {
  type CheckedPngLimits,
  checkTransparency,
  limitsSchema,
  type PngHeader,
  type PngLimits,
  parseHeader,
  parsePalette,
} from './png-header.js';
import { expandPixels, type PngPalette, scanlineBytes, unpackScanlines } from './png-pixels.js';

export type { PngLimits } from './png-header.js';

/** One 8-bit image: `data` is (height, width, channels); channels 1 grey, 2 grey+alpha, 3 RGB, 4 RGBA. */
export interface RasterImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: number;
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const COLOR_TYPES = [0, 4, 2, 6]; // of 1, 2, 3, 4 channels
const MAXIMUM_ENCODED_BYTES = 2 ** 30;

function chunk(type: string, data: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(data.length + 12);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; ++i) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

/**
 * The PNG file of an 8-bit image with 1 (grey), 2 (grey+alpha), 3 (RGB) or 4 (RGBA) channels; no row filter.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_OUT_OF_RANGE, ERR_BUFFER_SIZE (`data` is not height*width*channels
 * bytes), ERR_DETACHED, PNG_LIMIT (more than 1 GiB).
 */
export function encodePng(image: RasterImage): Uint8Array {
  const { data } = image;
  checkBytes(data, 'image.data');
  const channels = checkInteger(image.channels, 'image.channels', 1, 4);
  const width = checkInteger(image.width, 'image.width', 1, 2 ** 31 - 1);
  const height = checkInteger(image.height, 'image.height', 1, 2 ** 31 - 1);
  const size = height * width * channels;
  check(size === data.length, 'ERR_BUFFER_SIZE', () => {
    return `image.data must hold ${height}x${width}x${channels} = ${size} bytes, got ${data.length}`;
  });
  check(
    size <= MAXIMUM_ENCODED_BYTES,
    'PNG_LIMIT',
    () => `${size} bytes to encode, limit ${MAXIMUM_ENCODED_BYTES}`,
  );
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8;
  header[9] = COLOR_TYPES[channels - 1] as number;
  const row = width * channels;
  const scanlines = new Uint8Array(height * (row + 1));
  for (let y = 0; y < height; ++y) scanlines.set(data.subarray(y * row, (y + 1) * row), y * (row + 1) + 1);
  const idat = chunk('IDAT', deflateSync(scanlines));
  const end = chunk('IEND', new Uint8Array(0));
  return plainBytes(Buffer.concat([new Uint8Array(SIGNATURE), chunk('IHDR', header), idat, end]));
}

/** True when `bytes` starts with the PNG signature. */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

interface PngParts {
  header: PngHeader;
  palette: PngPalette;
  compressed: Uint8Array;
}

/** Walks the chunks in order: length, place, checksum and content of each. */
function parseChunks(bytes: Uint8Array, limits: CheckedPngLimits, where: string): PngParts {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const palette: PngPalette = {};
  const parts: Uint8Array[] = [];
  let compressedBytes = 0;
  let header: PngHeader | undefined;
  let previous = '';
  for (let at = 8, count = 1; ; ++count) {
    check(count <= limits.maxChunks, 'PNG_LIMIT', () => `more than ${limits.maxChunks} chunks${where}`);
    check(
      at + 12 <= bytes.length,
      'PNG_TRUNCATED',
      () => `file ends after ${bytes.length} bytes, without IEND${where}`,
    );
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    check(
      /^[A-Za-z]{4}$/.test(type),
      'PNG_CHUNK_TYPE',
      () => `chunk type ${JSON.stringify(type)} at ${at}${where}`,
    );
    const cutHeader = header === undefined && length === 13;
    check(
      length < 2 ** 31 && at + 12 + length <= bytes.length,
      cutHeader ? 'PNG_TRUNCATED' : 'PNG_CHUNK_LENGTH',
      () => {
        return `chunk ${type} at ${at} states ${length} bytes, the file has ${bytes.length}${where}`;
      },
    );
    const data = bytes.subarray(at + 8, at + 8 + length);
    check(
      crc32(bytes.subarray(at + 4, at + 8 + length)) === view.getUint32(at + 8 + length),
      'PNG_CRC',
      () => {
        return `checksum of chunk ${type} at ${at} does not match${where}`;
      },
    );
    const started = header;
    check((type === 'IHDR') === (started === undefined), 'PNG_CHUNK_ORDER', () => {
      return started ? `second IHDR at ${at}${where}` : `first chunk must be IHDR, got ${type}${where}`;
    });
    at += 12 + length;
    if (started === undefined) {
      header = parseHeader(data, limits, where);
    } else if (type === 'PLTE') {
      check(
        palette.colors === undefined && parts.length === 0 && palette.transparency === undefined,
        'PNG_CHUNK_ORDER',
        () => {
          return `PLTE must come once, before tRNS and IDAT${where}`;
        },
      );
      palette.colors = parsePalette(data, started, where);
    } else if (type === 'tRNS') {
      check(palette.transparency === undefined && parts.length === 0, 'PNG_CHUNK_ORDER', () => {
        return `tRNS must come once, before IDAT${where}`;
      });
      checkTransparency(data, started, palette.colors, where);
      palette.transparency = data;
    } else if (type === 'IDAT') {
      check(
        parts.length === 0 || previous === 'IDAT',
        'PNG_CHUNK_ORDER',
        () => `IDAT after ${previous}${where}`,
      );
      compressedBytes += length;
      check(compressedBytes <= limits.maxCompressedBytes, 'PNG_LIMIT', () => {
        return `image data of more than ${limits.maxCompressedBytes} compressed bytes${where}`;
      });
      parts.push(data);
    } else if (type === 'IEND') {
      check(length === 0, 'PNG_CHUNK_LENGTH', () => `IEND of ${length} bytes${where}`);
      check(at === bytes.length, 'PNG_TRAILING_DATA', () => `${bytes.length - at} bytes after IEND${where}`);
      check(parts.length > 0, 'PNG_MISSING_DATA', () => `no IDAT chunk${where}`);
      check(
        started.colorType !== 3 || palette.colors !== undefined,
        'PNG_PALETTE',
        () => `no palette${where}`,
      );
      return { header: started, palette, compressed: Buffer.concat(parts) };
    } else {
      check(type.charCodeAt(0) >= 97, 'PNG_CRITICAL_CHUNK', () => `unknown critical chunk ${type}${where}`);
    }
    previous = type;
  }
}

/** Unpacks the zlib stream, which must end exactly where the image does, on both sides. */
function inflateScanlines(compressed: Uint8Array, size: number, where: string): Uint8Array {
  let result: { buffer: Buffer; engine: Inflate };
  try {
    // `info` is what @types/node does not know: it adds the engine, which counts the bytes it consumed.
    result = inflateSync(compressed, { maxOutputLength: size, info: true }) as unknown as typeof result;
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown error';
    throw new PixelCnnError('PNG_ZLIB', `image data do not unpack to ${size} bytes${where}: ${code}`, {
      cause,
    });
  }
  const { buffer, engine } = result;
  check(buffer.length === size && engine.bytesWritten === compressed.length, 'PNG_ZLIB', () => {
    return `${engine.bytesWritten} of ${compressed.length} bytes unpack to ${buffer.length} of ${size}${where}`;
  });
  return buffer;
}

/**
 * Decodes a PNG of 1, 2, 4 or 8 bits per channel, interlaced or not, to 8 bits: grey samples are scaled to 0…255,
 * palettes become RGB, a tRNS chunk adds an alpha channel; gamma, colour profiles and animation are ignored.
 * @throws PixelCnnError for bytes or limits of the wrong type or range, unknown limits, or ERR_DETACHED; PNG_SIGNATURE,
 * PNG_TRUNCATED, PNG_CRC, PNG_CHUNK_TYPE, PNG_CHUNK_LENGTH, PNG_CHUNK_ORDER, PNG_CRITICAL_CHUNK, PNG_DIMENSIONS,
 * PNG_COLOR_TYPE, PNG_BIT_DEPTH, PNG_METHOD, PNG_PALETTE, PNG_TRNS, PNG_MISSING_DATA, PNG_ZLIB, PNG_FILTER,
 * PNG_TRAILING_DATA, PNG_LIMIT, PNG_UNSUPPORTED (16 bits).
 */
export function decodePng(bytes: Uint8Array, limits: PngLimits = {}): RasterImage {
  checkBytes(bytes, 'bytes');
  const bounds = parseOptions('decodePng', limitsSchema, limits);
  const where = inFile(bounds.file);
  const present = Math.min(bytes.length, 8);
  check(
    SIGNATURE.slice(0, present).every((byte, i) => bytes[i] === byte),
    'PNG_SIGNATURE',
    () => {
      const hex = Buffer.from(bytes.subarray(0, 8)).toString('hex');
      return `not a PNG file: starts with ${hex}, not 89504e470d0a1a0a${where}`;
    },
  );
  check(present === 8, 'PNG_TRUNCATED', () => `a PNG signature has 8 bytes, got ${bytes.length}${where}`);
  const { header, palette, compressed } = parseChunks(bytes, bounds, where);
  const scanlines = inflateScanlines(compressed, scanlineBytes(header), where);
  return expandPixels(header, unpackScanlines(header, scanlines, where), palette, where);
}
