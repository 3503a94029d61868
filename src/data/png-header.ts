// Parses the header (IHDR) of a PNG file and defines the decoder's limits and its notes on what it tolerates.
import { check, PixelCnnError } from '../errors.js';
import { z } from '../options.js';

/** The fields of IHDR. */
export interface PngHeader {
  width: number;
  height: number;
  /** Bits per sample: 1, 2, 4, 8 or 16. */
  depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey+alpha, 6 RGBA. */
  colorType: number;
  interlaced: boolean;
}

// The defaults allow a photograph of 48 megapixels (8000x6000), even with 4 channels of 16 bits that hardly
// compress and in chunks of 8 KiB, as libpng writes them.
export const pngLimits = z.strictObject({
  /** Largest width and height in pixels; default 16,384. */
  maxSide: z.int().min(1).default(16_384),
  /**
   * Largest decoded image in bytes; default 384 MiB. A pixel counts as 2 bytes (grey) or 4 (colour), and
   * twice that with 16 bits per channel.
   */
  maxBytes: z
    .int()
    .min(1)
    .default(384 * 2 ** 20),
  /** Largest compressed image data in bytes; default 384 MiB. */
  maxCompressedBytes: z
    .int()
    .min(1)
    .default(384 * 2 ** 20),
  /** Largest number of chunks; default 65,536. */
  maxChunks: z
    .int()
    .min(1)
    .default(2 ** 16),
  /**
   * Rejects files that depart from the standard or have 16 bits per channel, instead of adding a note;
   * default false.
   */
  strict: z.boolean().default(false),
  /** The name of the file in error messages. */
  file: z.string().optional(),
});

/**
 * Options of {@link decodePng}.
 *
 * @interface
 */
export type PngLimits = z.input<typeof pngLimits>;
/** The limits with their defaults. */
export interface CheckedPngLimits extends z.output<typeof pngLimits> {
  /** Writes a limit as the caller would set it, for the remedy of an error. */
  readonly setting: PngSetting;
}

/** Writes a limit and its value as a caller would set it, for example `{ maxSide: 17000 }`. */
export type PngSetting = (name: keyof PngLimits, value: number | boolean) => string;

/**
 * Throws PNG_LIMIT if `value` exceeds the limit `name`. `finding` says what was found in the file, and the
 * remedy suggests `needed` as the new limit.
 */
export function checkLimit(
  limits: CheckedPngLimits,
  name: 'maxSide' | 'maxBytes' | 'maxCompressedBytes' | 'maxChunks',
  value: number,
  finding: () => string,
  needed = value,
): void {
  const limit = limits[name];
  if (value <= limit) return;
  throw new PixelCnnError('PNG_LIMIT', `${finding()}, but ${name} is ${limit}`, {
    remedy: `if the file can be trusted, raise the limit: ${limits.setting(name, needed)}`,
  });
}

/** Sentences about what the decoder changed or ignored and users may want to know. */
export const NOTES = {
  depth: '16 bits per channel were scaled to 8',
  animation: 'an animation: only its first image was read',
  trailing: 'bytes after the end of the image were passed over',
  noEnd: 'the end of the file (IEND) is missing or damaged; the image is whole',
  checksum: 'chunks with a wrong checksum beside the image were passed over',
  palette: 'a palette that does not belong into the image was passed over',
  paletteEntries: 'entries of the palette that no pixel can have were passed over',
  unknownColor: 'pixels whose colour is not in the palette became black',
  transparency:
    'a transparent colour (tRNS) that does not fit the image was passed over: all pixels are opaque',
  transparencyWithAlpha: 'a transparent colour (tRNS) beside an alpha channel was passed over',
  transparencyRepeated: 'a second or late transparent colour (tRNS) was passed over',
  transparencyEntries: 'entries of tRNS for which the palette has no colour were passed over',
  transparencyBits: 'of a transparent colour (tRNS) only as many bits as a channel has were used',
  rows: 'image data beyond the last row were passed over',
} as const;

/**
 * Called when a file departs from the standard in a way that viewers tolerate. Throws if `strict` is set;
 * otherwise adds `note` to the notes.
 */
export type Tolerate = (code: string, message: string, note: string) => undefined;

/** How a PNG file stores a pixel. */
type PngKind = Readonly<Pick<PngHeader, 'depth' | 'colorType'>>;

const BIT_DEPTHS = new Map([
  [0, [1, 2, 4, 8, 16]],
  [2, [8, 16]],
  [3, [1, 2, 4, 8]],
  [4, [8, 16]],
  [6, [8, 16]],
]);

/**
 * Reads the depth and colour type of the PNG file that starts with `bytes`, of which there must be at least
 * 33. Returns undefined if it is no PNG file. The checksum and other fields are not checked: the decoder does
 * that.
 */
export function pngKind(bytes: Uint8Array): PngKind | undefined {
  if (bytes.length < 33) return undefined;
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, 26);
  if (start.toString('latin1', 0, 8) !== '\x89PNG\r\n\x1a\n') return undefined;
  if (start.readUInt32BE(8) !== 13 || start.toString('latin1', 12, 16) !== 'IHDR') return undefined;
  const [depth, colorType] = [start.readUInt8(24), start.readUInt8(25)];
  return BIT_DEPTHS.get(colorType)?.includes(depth) ? { depth, colorType } : undefined;
}

/** Parses and checks the data of the IHDR chunk, and checks the size of the image against the limits. */
export function parseHeader(
  data: Uint8Array,
  limits: CheckedPngLimits,
  where: string,
  tolerate: Tolerate,
): PngHeader {
  check(data.length === 13, 'PNG_CHUNK_LENGTH', () => `IHDR has 13 bytes, got ${data.length}${where}`);
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const [width, height] = [view.getUint32(0), view.getUint32(4)];
  const [depth, colorType] = [view.getUint8(8), view.getUint8(9)];
  const [compression, filter, interlace] = [view.getUint8(10), view.getUint8(11), view.getUint8(12)];
  check(width > 0 && height > 0 && width < 2 ** 31 && height < 2 ** 31, 'PNG_DIMENSIONS', () => {
    return `width and height must be in [1, 2^31), got ${width}x${height}${where}`;
  });
  const depths = BIT_DEPTHS.get(colorType);
  check(
    depths !== undefined,
    'PNG_COLOR_TYPE',
    () => `colour type must be 0, 2, 3, 4 or 6, got ${colorType}${where}`,
  );
  check(depths.includes(depth), 'PNG_BIT_DEPTH', () => {
    return `colour type ${colorType} has bit depths ${depths.join(', ')}, got ${depth}${where}`;
  });
  check(compression === 0 && filter === 0 && interlace <= 1, 'PNG_METHOD', () => {
    return `compression/filter/interlace must be 0/0/0 or 1, got ${compression}/${filter}/${interlace}${where}`;
  });
  if (depth === 16) {
    tolerate('PNG_UNSUPPORTED', `16 bits per channel, which strict refuses${where}`, NOTES.depth);
  }
  const sides = () => `${width}x${height} pixels${where}`;
  checkLimit(limits, 'maxSide', Math.max(width, height), sides);
  // Enough for the scanlines and for the decoded pixels, which a transparent colour gives an alpha channel.
  const channels = colorType === 2 || colorType === 3 || colorType === 6 ? 4 : 2;
  const bytes = width * height * channels * (depth === 16 ? 2 : 1);
  checkLimit(limits, 'maxBytes', bytes, () => `${sides()} may take ${bytes} bytes`);
  return { width, height, depth, colorType, interlaced: interlace === 1 };
}
