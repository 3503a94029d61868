// Converts PNG scanlines to pixels: row filters, Adam7 passes, packed samples, palette and transparency.
import { check } from '../errors.js';
import type { RasterImage } from './image-batch.js';
import type { PngHeader } from './png-header.js';

export interface PngPalette {
  /** (entries, 3): red, green and blue of each entry. */
  colors?: Uint8Array;
  /**
   * With a palette (entries): the alpha of each entry. Otherwise one sample per channel: the transparent
   * colour.
   */
  transparency?: Uint8Array | Uint16Array | undefined;
}

/** x0, y0, dx and dy of each pass, which contains the pixels (x0 + i*dx, y0 + j*dy). */
const ADAM7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;
const ONE_PASS = [[0, 0, 1, 1]] as const;

interface Pass {
  x0: number;
  y0: number;
  dx: number;
  dy: number;
  columns: number;
  rows: number;
  /** Bytes of a scanline without its filter byte. */
  stride: number;
}

export function samplesPerPixel(colorType: number): number {
  return colorType === 2 ? 3 : colorType === 4 ? 2 : colorType === 6 ? 4 : 1;
}

function passes(header: PngHeader): Pass[] {
  const bits = samplesPerPixel(header.colorType) * header.depth;
  return (header.interlaced ? ADAM7 : ONE_PASS)
    .map(([x0, y0, dx, dy]) => {
      const columns = Math.max(0, Math.ceil((header.width - x0) / dx));
      const rows = Math.max(0, Math.ceil((header.height - y0) / dy));
      return { x0, y0, dx, dy, columns, rows, stride: Math.ceil((columns * bits) / 8) };
    })
    .filter(({ columns, rows }) => columns > 0 && rows > 0);
}

/** Returns the size of the unpacked image data in bytes, including the filter byte of each row. */
export function scanlineBytes(header: PngHeader): number {
  return passes(header).reduce((sum, { rows, stride }) => sum + rows * (stride + 1), 0);
}

/**
 * Undoes the filter of one row in place. `above` is the row before it (zeros for the first row), and `step`
 * the number of bytes of a pixel.
 */
function unfilter(filter: number, row: Uint8Array, above: Uint8Array, step: number): void {
  const { length } = row;
  if (filter === 1) {
    for (let i = step; i < length; ++i) row[i]! += row[i - step]!;
  } else if (filter === 2) {
    for (let i = 0; i < length; ++i) row[i]! += above[i]!;
  } else if (filter === 3) {
    for (let i = 0; i < step; ++i) row[i]! += above[i]! >> 1;
    for (let i = step; i < length; ++i) row[i]! += (row[i - step]! + above[i]!) >> 1;
  } else if (filter === 4) {
    for (let i = 0; i < step; ++i) row[i]! += above[i]!;
    for (let i = step; i < length; ++i) {
      const left = row[i - step]!;
      const up = above[i]!;
      const corner = above[i - step]!;
      // Paeth: predict by that of the three neighbours which is nearest to left + up - corner.
      const toLeft = Math.abs(up - corner);
      const toUp = Math.abs(left - corner);
      const toCorner = Math.abs(left + up - 2 * corner);
      row[i]! += toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
    }
  }
}

/**
 * Converts a row of scanlines to a row of pixels. `convert` returns its argument or an array that the next
 * call reuses.
 */
interface RowConversion {
  /** Number of bytes of a converted pixel. */
  readonly channels: number;
  convert(row: Uint8Array, columns: number): Uint8Array;
}

/** Returns a function that unpacks the samples of a row, `depth` bits each, into one array element each. */
function sampleReader(header: PngHeader): (row: Uint8Array, count: number) => Uint8Array | Uint16Array {
  const { width, depth, colorType } = header;
  if (depth === 8) return (row) => row;
  const capacity = width * samplesPerPixel(colorType);
  if (depth === 16) {
    const samples = new Uint16Array(capacity);
    return (row, count) => {
      for (let i = 0; i < count; ++i) samples[i] = (row[2 * i]! << 8) | row[2 * i + 1]!;
      return samples;
    };
  }
  const samples = new Uint8Array(capacity);
  return (row, count) => {
    for (let i = 0; i < count; ++i) {
      const bit = i * depth;
      samples[i] = (row[bit >> 3]! >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
    }
    return samples;
  };
}

/**
 * Converts rows by looking up a palette. Pixels whose index is not in the palette become black; `unknown` is
 * called once for each such row with the largest index.
 */
function paletteConversion(
  header: PngHeader,
  palette: PngPalette,
  unknown: (index: number) => void,
): RowConversion {
  const { colors = new Uint8Array(0), transparency } = palette;
  const entries = colors.length / 3;
  const channels = transparency ? 4 : 3;
  const table = new Uint8Array(256 * channels);
  for (let i = 0; i < 256; ++i) {
    table.set(colors.subarray(3 * i, 3 * i + 3), i * channels);
    if (transparency) table[i * channels + 3] = transparency[i] ?? 255;
  }
  const read = sampleReader(header);
  const pixels = new Uint8Array(header.width * channels);
  return {
    channels,
    convert(row, columns) {
      const samples = read(row, columns);
      let largest = 0;
      for (let i = 0; i < columns; ++i) {
        const index = samples[i]!;
        if (index > largest) largest = index;
        for (let c = 0; c < channels; ++c) pixels[i * channels + c] = table[index * channels + c]!;
      }
      if (largest >= entries) unknown(largest);
      return pixels;
    },
  };
}

/**
 * Scales samples to 0…255. If there is a `transparent` colour, it adds an alpha channel, 0 for that colour.
 */
function scalingConversion(header: PngHeader, transparent?: Uint8Array | Uint16Array): RowConversion {
  const { width, depth, colorType } = header;
  const count = samplesPerPixel(colorType);
  if (depth === 8 && !transparent) return { channels: count, convert: (row) => row };
  const channels = transparent ? count + 1 : count;
  const read = sampleReader(header);
  const pixels = new Uint8Array(width * channels);
  const factor = 255 / (2 ** depth - 1); // 255, 85, 17 or 1
  return {
    channels,
    convert(row, columns) {
      const samples = read(row, columns * count);
      for (let i = 0; i < columns; ++i) {
        let differs = false;
        for (let s = 0; s < count; ++s) {
          const sample = samples[i * count + s]!;
          // For 16 bits this is round(sample * 255 / 65535) in integers, as in png_set_scale_16 of libpng.
          pixels[i * channels + s] = depth === 16 ? (sample * 255 + 32_895) >>> 16 : sample * factor;
          if (transparent && sample !== transparent[s]) differs = true;
        }
        if (transparent) pixels[i * channels + count] = differs ? 255 : 0;
      }
      return pixels;
    },
  };
}

/**
 * Decodes `scanlines` to an 8-bit image. Filters are undone in place, palettes are looked up, samples are
 * scaled to 0…255, and a transparent colour becomes an alpha channel. `unknownColor` is called when a pixel
 * has a colour that is not in the palette.
 */
export function decodePixels(
  header: PngHeader,
  scanlines: Uint8Array,
  palette: PngPalette,
  where: string,
  unknownColor: (index: number) => void,
): RasterImage {
  const { width, height, depth, colorType } = header;
  const step = Math.max(1, (samplesPerPixel(colorType) * depth) >> 3);
  const { channels, convert } =
    colorType === 3
      ? paletteConversion(header, palette, unknownColor)
      : scalingConversion(header, palette.transparency);
  const data = new Uint8Array(width * height * channels);
  let at = 0;
  for (const { x0, y0, dx, dy, columns, rows, stride } of passes(header)) {
    let above: Uint8Array = new Uint8Array(stride);
    for (let j = 0; j < rows; ++j) {
      const filter = scanlines[at] as number;
      const y = y0 + j * dy;
      check(filter <= 4, 'PNG_FILTER', () => `row filter must be 0 to 4, got ${filter} in row ${y}${where}`);
      const row = scanlines.subarray(at + 1, at + 1 + stride);
      unfilter(filter, row, above, step);
      above = row;
      at += stride + 1;
      const pixels = convert(row, columns);
      const target = (y * width + x0) * channels;
      if (dx === 1) {
        data.set(
          pixels.length === columns * channels ? pixels : pixels.subarray(0, columns * channels),
          target,
        );
        continue;
      }
      for (let i = 0; i < columns; ++i) {
        for (let c = 0; c < channels; ++c) {
          data[target + i * dx * channels + c] = pixels[i * channels + c]!;
        }
      }
    }
  }
  return { data, width, height, channels };
}
