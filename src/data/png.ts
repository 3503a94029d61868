// PNG files: an encoder for 8-bit images and a decoder that verifies every checksum and limit and tells what it forgives.
import { crc32, deflateSync, type Inflate, inflateSync } from 'node:zlib';
import { check, PixelCnnError } from '../errors.js';
import { parseOptions } from '../options.js';
import { errorCode } from '../realm.js';
import { checkBytes, checkInteger, inFile, plainBytes } from './check-bytes.js';
import { exifOrientation } from './exif-orientation.js';
import type { ImageBatch } from './image-batch.js';
import { type PngParts, parseChunks } from './png-chunks.js';
import { type Forgive, limitsSchema, NOTES, type PngLimits, type PngSetting } from './png-header.js';
import { decodePixels, scanlineBytes } from './png-pixels.js';

export type { PngLimits } from './png-header.js';

/** One 8-bit image: `data` is (height, width, channels); channels 1 grey, 2 grey+alpha, 3 RGB, 4 RGBA. */
export interface RasterImage {
  data: Uint8Array;
  width: number;
  height: number;
  channels: number;
}

/** What {@link decodePng} returns. */
export interface DecodedPng extends RasterImage {
  /**
   * What was done to the image, or passed over in its file, in plain sentences that are the same for every file:
   * '16 bits per channel were scaled to 8'. Empty for most.
   */
  readonly notes: readonly string[];
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
 * bytes), ERR_INVALID_ARG_VALUE (an image whose `values` are levels, which would be shown nearly black), ERR_DETACHED,
 * PNG_LIMIT (more than 1 GiB).
 */
export function encodePng(image: RasterImage & Pick<Partial<ImageBatch>, 'values'>): Uint8Array {
  const { data, values } = image;
  if (values === 'levels') {
    throw new PixelCnnError(
      'ERR_INVALID_ARG_VALUE',
      'encodePng: the image holds levels, and PNG files show bytes',
      {
        remedy:
          'spread the levels over black to white: encodePng(imageGrid(images, { levels: model.config.levels }))',
      },
    );
  }
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

/** Deflate packs at most 258 bytes into 2 bits. */
const MAXIMUM_RATIO = 1032;
/** So many bytes after the last row are still unpacked, to verify the checksum behind them. */
const SURPLUS_BYTES = 2 ** 16;

/** Unpacks the zlib stream of an image of `size` bytes, filter bytes included; little more than that is ever unpacked. */
function inflateScanlines(parts: PngParts, size: number, where: string, forgive: Forgive): Uint8Array {
  const { compressed, ended } = parts;
  const code = ended ? 'PNG_ZLIB' : 'PNG_TRUNCATED';
  const short = (cause?: unknown) => {
    const zlibCode = errorCode(cause);
    const reason = zlibCode === undefined ? '' : `: ${zlibCode}`;
    const text = `${compressed.length} bytes of image data do not unpack to ${size} bytes${where}${reason}`;
    return new PixelCnnError(code, text, { cause });
  };
  if (size > compressed.length * MAXIMUM_RATIO) throw short(); // before memory is asked for
  let result: { buffer: Buffer; engine: Inflate };
  try {
    // `info` is what @types/node does not know: it adds the engine, which counts the bytes it consumed. A chunk larger
    // than the data makes them one buffer, not copied once more.
    result = inflateSync(compressed, {
      maxOutputLength: size + SURPLUS_BYTES,
      chunkSize: Math.max(64, size + 1),
      info: true,
    }) as unknown as typeof result;
  } catch (cause) {
    // What zlib throws has a code; memory that cannot be had says nothing of the file.
    throw errorCode(cause) === undefined ? cause : short(cause);
  }
  const { buffer, engine } = result;
  if (buffer.length < size) throw short();
  const got = `${engine.bytesWritten} of ${compressed.length} bytes unpack to ${buffer.length} of ${size}${where}`;
  if (buffer.length > size) forgive('PNG_ZLIB', got, NOTES.rows);
  if (engine.bytesWritten < compressed.length) forgive('PNG_ZLIB', got, NOTES.trailing);
  return plainBytes(buffer);
}

/**
 * Decodes a PNG of 1, 2, 4, 8 or 16 bits per channel, interlaced or not, to 8 bits: samples are scaled to 0…255 and
 * rounded, palettes become RGB, a tRNS chunk adds an alpha channel; gamma, colour profiles, the EXIF orientation
 * (loadImages turns images, this does not) and all images of an animation but the first are ignored.
 *
 * Reads what viewers show, also where a file departs from the standard beside its image (bytes after the end, a wrong
 * checksum of an ancillary chunk, a palette in a grey image, …), and says so in `notes`; with `strict: true` it refuses
 * that. An image that is not whole, or of which a checksum does not fit, is always refused.
 * @throws PixelCnnError for bytes or limits of the wrong type or range, unknown limits, or ERR_DETACHED; PNG_SIGNATURE,
 * PNG_TRUNCATED, PNG_CRC, PNG_CHUNK_TYPE, PNG_CHUNK_LENGTH, PNG_CHUNK_ORDER, PNG_CRITICAL_CHUNK, PNG_DIMENSIONS,
 * PNG_COLOR_TYPE, PNG_BIT_DEPTH, PNG_METHOD, PNG_PALETTE, PNG_MISSING_DATA, PNG_ZLIB, PNG_FILTER, PNG_LIMIT (names the
 * limit); only when strict PNG_TRNS, PNG_TRAILING_DATA, PNG_UNSUPPORTED (16 bits).
 */
export function decodePng(bytes: Uint8Array, limits: PngLimits = {}): DecodedPng {
  return decodeOrientedPng(bytes, limits).image;
}

/**
 * The same, and the EXIF orientation, 1 to 8, that the file states for the image; it is not applied. `setting` is how
 * errors say to set a limit.
 */
export function decodeOrientedPng(
  bytes: Uint8Array,
  limits: PngLimits = {},
  setting: PngSetting = (name, value) => `{ ${name}: ${value} }`,
): { image: DecodedPng; orientation: number } {
  checkBytes(bytes, 'bytes');
  const bounds = { ...parseOptions('decodePng', limitsSchema, limits), setting };
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
  const notes = new Set<string>();
  const forgive: Forgive = (code, message, note) => {
    if (bounds.strict)
      throw new PixelCnnError(code, message, { remedy: `leave out ${setting('strict', true)}` });
    notes.add(note);
  };
  const parts = parseChunks(bytes, bounds, where, forgive, (text) => notes.add(text));
  const { header, palette, exif } = parts;
  const scanlines = inflateScanlines(parts, scanlineBytes(header), where, forgive);
  const image = decodePixels(header, scanlines, palette, where, (index) => {
    const entries = (palette.colors?.length ?? 0) / 3;
    const message = `a pixel has colour ${index} of a palette of ${entries}${where}`;
    forgive('PNG_PALETTE', message, NOTES.unknownColor);
  });
  const orientation = exif === undefined ? 1 : exifOrientation(exif);
  return { image: { ...image, notes: [...notes] }, orientation };
}
