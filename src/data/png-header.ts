// The PNG chunks that describe an image: IHDR, PLTE and tRNS, each checked against the standard and the limits.
import { check } from '../errors.js';
import { z } from '../options.js';

/** What IHDR says. */
export interface PngHeader {
  width: number;
  height: number;
  /** Bits per sample: 1, 2, 4 or 8. */
  depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey+alpha, 6 RGBA. */
  colorType: number;
  interlaced: boolean;
}

export const limitsSchema = z.strictObject({
  /** Largest width and height; default 16,384. */
  maxSide: z.int().min(1).default(16_384),
  /** Largest decoded image in bytes; default 64 MiB. */
  maxBytes: z
    .int()
    .min(1)
    .default(2 ** 26),
  /** Largest compressed image data in bytes; default 8 MiB. */
  maxCompressedBytes: z
    .int()
    .min(1)
    .default(2 ** 23),
  /** Most chunks; default 1,000. */
  maxChunks: z.int().min(1).default(1000),
  /** Name for error messages. */
  file: z.string().optional(),
});

/**
 * What {@link decodePng} takes.
 *
 * @interface
 */
export type PngLimits = z.input<typeof limitsSchema>;
/** The limits with their defaults. */
export type CheckedPngLimits = z.output<typeof limitsSchema>;

/** What a PNG file stores of each pixel. */
export interface PngKind {
  /** Bits per sample: 1, 2, 4, 8 or 16. */
  readonly depth: number;
  /** 0 grey, 2 RGB, 3 palette, 4 grey+alpha, 6 RGBA. */
  readonly colorType: number;
}

/**
 * Depth and colour type of the PNG file that starts with `bytes` (33 of them, of which nothing but their place is
 * checked), undefined where they are not the beginning of one.
 */
export function pngKind(bytes: Uint8Array): PngKind | undefined {
  if (bytes.length < 33) return undefined;
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, 26);
  if (start.toString('latin1', 0, 8) !== '\x89PNG\r\n\x1a\n') return undefined;
  if (start.readUInt32BE(8) !== 13 || start.toString('latin1', 12, 16) !== 'IHDR') return undefined;
  const [depth, colorType] = [start.readUInt8(24), start.readUInt8(25)];
  return BIT_DEPTHS.get(colorType)?.includes(depth) ? { depth, colorType } : undefined;
}

const BIT_DEPTHS = new Map([
  [0, [1, 2, 4, 8, 16]],
  [2, [8, 16]],
  [3, [1, 2, 4, 8]],
  [4, [8, 16]],
  [6, [8, 16]],
]);

/**
 * @throws PixelCnnError PNG_CHUNK_LENGTH, PNG_DIMENSIONS, PNG_COLOR_TYPE, PNG_BIT_DEPTH, PNG_METHOD, PNG_UNSUPPORTED,
 * PNG_LIMIT.
 */
export function parseHeader(data: Uint8Array, limits: CheckedPngLimits, where: string): PngHeader {
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
  check(depth < 16, 'PNG_UNSUPPORTED', () => `16 bits per channel${where}: convert to 8 bits first`);
  const { maxSide, maxBytes } = limits;
  check(width <= maxSide && height <= maxSide, 'PNG_LIMIT', () => {
    return `${width}x${height} pixels, limit ${maxSide} on a side${where}`;
  });
  // The scanlines and, with a transparent colour, the decoded pixels of up to 4 channels.
  const bytes = width * height * (colorType === 2 || colorType === 3 || colorType === 6 ? 4 : 2);
  check(bytes <= maxBytes, 'PNG_LIMIT', () => {
    return `${width}x${height} pixels may take ${bytes} bytes, limit ${maxBytes}${where}`;
  });
  return { width, height, depth, colorType, interlaced: interlace === 1 };
}

/** @throws PixelCnnError PNG_PALETTE. */
export function parsePalette(data: Uint8Array, header: PngHeader, where: string): Uint8Array {
  const entries = data.length / 3;
  const limit = header.colorType === 3 ? 2 ** header.depth : 256;
  check(Number.isInteger(entries) && entries >= 1 && entries <= limit, 'PNG_PALETTE', () => {
    return `PLTE of ${data.length} bytes is not 1 to ${limit} entries of 3 bytes${where}`;
  });
  check(
    header.colorType !== 0 && header.colorType !== 4,
    'PNG_PALETTE',
    () => `grey image with a palette${where}`,
  );
  return data;
}

/** @throws PixelCnnError PNG_TRNS. */
export function checkTransparency(
  data: Uint8Array,
  header: PngHeader,
  colors: Uint8Array | undefined,
  where: string,
): void {
  const { colorType, depth } = header;
  check(
    colorType < 4,
    'PNG_TRNS',
    () => `tRNS in an image with an alpha channel (colour type ${colorType})${where}`,
  );
  if (colorType === 3) {
    check(colors !== undefined, 'PNG_TRNS', () => `tRNS before PLTE${where}`);
    check(data.length >= 1 && data.length <= colors.length / 3, 'PNG_TRNS', () => {
      return `tRNS of ${data.length} entries for a palette of ${colors.length / 3}${where}`;
    });
    return;
  }
  const samples = colorType === 0 ? 1 : 3;
  check(
    data.length === 2 * samples,
    'PNG_TRNS',
    () => `tRNS has ${2 * samples} bytes, got ${data.length}${where}`,
  );
  for (let i = 0; i < samples; ++i) {
    const sample = ((data[2 * i] as number) << 8) | (data[2 * i + 1] as number);
    check(
      sample < 2 ** depth,
      'PNG_TRNS',
      () => `tRNS sample ${sample} needs more than ${depth} bits${where}`,
    );
  }
}
