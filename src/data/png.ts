// Encodes and decodes PNG files.
import { crc32, deflateSync, type Inflate, inflateSync } from 'node:zlib';
import { check, checkInteger, PixelCnnError } from '../errors.js';
import { parseOptions } from '../options.js';
import { errorCode } from '../realm.js';
import { inFile } from '../show.js';
import { checkBytes, plainBytes } from './check-array.js';
import { exifOrientation } from './exif-orientation.js';
import type { ImageBatch, RasterImage } from './image-batch.js';
import { type PngParts, parseChunks } from './png-chunks.js';
import { NOTES, type PngLimits, type PngSetting, pngLimits, type Tolerate } from './png-header.js';
import { decodePixels, scanlineBytes } from './png-pixels.js';

export type { PngLimits } from './png-header.js';

/** What {@link decodePng} returns. */
export interface DecodedPng extends RasterImage {
  /**
   * Sentences about how the image was changed or what was ignored in its file, for example '16 bits per
   * channel were scaled to 8'. They do not depend on the file, so that callers can count them. Most files
   * have none.
   */
  readonly notes: readonly string[];
}

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
const COLOR_TYPES = [0, 4, 2, 6]; // for 1, 2, 3 and 4 channels
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
 * Encodes an 8-bit image of 1 (grey), 2 (grey and alpha), 3 (RGB) or 4 (RGBA) channels as a PNG file. `data`
 * is (height, width, channels), at most 1 GiB.
 * @throws PixelCnnError ERR_INVALID_ARG_VALUE if the `values` of the image are levels, which would look
 * nearly black.
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

/** Whether `bytes` starts with the PNG signature. */
export function isPng(bytes: Uint8Array): boolean {
  return SIGNATURE.every((byte, i) => bytes[i] === byte);
}

/** The largest ratio of unpacked to compressed bytes: deflate codes at most 258 bytes in 2 bits. */
const MAXIMUM_RATIO = 1032;
/**
 * The number of bytes after the last row that are still unpacked, in order to verify the checksum behind
 * them.
 */
const SURPLUS_BYTES = 2 ** 16;

/**
 * Unpacks the zlib stream of an image of `size` bytes, including filter bytes. It never unpacks much more
 * than that, so a small file cannot take gigabytes.
 */
function inflateScanlines(parts: PngParts, size: number, where: string, tolerate: Tolerate): Uint8Array {
  const { compressed, ended } = parts;
  const code = ended ? 'PNG_ZLIB' : 'PNG_TRUNCATED';
  const short = (cause?: unknown) => {
    const zlibCode = errorCode(cause);
    const reason = zlibCode === undefined ? '' : `: ${zlibCode}`;
    const text = `${compressed.length} bytes of image data do not unpack to ${size} bytes${where}${reason}`;
    return new PixelCnnError(code, text, { cause });
  };
  if (size > compressed.length * MAXIMUM_RATIO) throw short(); // before any memory is allocated
  let result: { buffer: Buffer; engine: Inflate };
  try {
    // `info`, which @types/node does not declare, adds the engine to the result. It counts the bytes that it
    // consumed. With a chunk size above the size of the data, zlib returns a single buffer, which need not be
    // copied again.
    result = inflateSync(compressed, {
      maxOutputLength: size + SURPLUS_BYTES,
      chunkSize: Math.max(64, size + 1),
      info: true,
    }) as unknown as typeof result;
  } catch (cause) {
    // An error without a code comes from a failed memory allocation, for which the file is not to blame.
    throw errorCode(cause) === undefined ? cause : short(cause);
  }
  const { buffer, engine } = result;
  if (buffer.length < size) throw short();
  const got = `${engine.bytesWritten} of ${compressed.length} bytes unpack to ${buffer.length} of ${size}${where}`;
  if (buffer.length > size) tolerate('PNG_ZLIB', got, NOTES.rows);
  if (engine.bytesWritten < compressed.length) tolerate('PNG_ZLIB', got, NOTES.trailing);
  return plainBytes(buffer);
}

/**
 * Decodes a PNG file of 1, 2, 4, 8 or 16 bits per channel, interlaced or not, to an 8-bit image. Samples are
 * scaled to 0…255 and rounded, palettes become RGB, and a tRNS chunk adds an alpha channel. Gamma, colour
 * profiles and the EXIF orientation are ignored (loadImages does turn images), and so are all images of an
 * animation but the first.
 *
 * It also reads files that depart from the standard without damage to the image (bytes after the end, a wrong
 * checksum of an ancillary chunk, a palette in a grey image), as viewers do, and says so in `notes`. With
 * `strict: true` it rejects them. It always rejects an image that is incomplete or has a wrong checksum.
 * @throws PixelCnnError with a code PNG_*, which says what is wrong with the file. PNG_LIMIT names the limit
 * to raise.
 */
export function decodePng(bytes: Uint8Array, limits: PngLimits = {}): DecodedPng {
  return decodeOrientedPng(bytes, limits).image;
}

/**
 * Decodes a PNG file as {@link decodePng} does and also returns the EXIF orientation, 1 to 8, that the file
 * states. It is not applied to the image. `setting` writes limits in the remedies of errors.
 */
export function decodeOrientedPng(
  bytes: Uint8Array,
  limits: PngLimits = {},
  setting: PngSetting = (name, value) => `{ ${name}: ${value} }`,
): { image: DecodedPng; orientation: number } {
  checkBytes(bytes, 'bytes');
  const bounds = { ...parseOptions('decodePng', pngLimits, limits), setting };
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
  const tolerate: Tolerate = (code, message, note) => {
    if (bounds.strict)
      throw new PixelCnnError(code, message, { remedy: `leave out ${setting('strict', true)}` });
    notes.add(note);
  };
  const parts = parseChunks(bytes, bounds, where, tolerate, (text) => notes.add(text));
  const { header, palette, exif } = parts;
  const scanlines = inflateScanlines(parts, scanlineBytes(header), where, tolerate);
  const image = decodePixels(header, scanlines, palette, where, (index) => {
    const entries = (palette.colors?.length ?? 0) / 3;
    const message = `a pixel has colour ${index} of a palette of ${entries}${where}`;
    tolerate('PNG_PALETTE', message, NOTES.unknownColor);
  });
  const orientation = exif === undefined ? 1 : exifOrientation(exif);
  return { image: { ...image, notes: [...notes] }, orientation };
}
