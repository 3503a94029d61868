// From PNG scanlines to pixels: row filters, the Adam7 passes, packed samples, palette and transparency.
import { check } from '../errors.js';
import type { RasterImage } from './png.js';
import type { PngHeader } from './png-header.js';

export interface PngPalette {
  /** (entries, 3) */
  colors?: Uint8Array;
  /** (entries) alpha bytes for a palette, else one big-endian 16-bit sample per channel. */
  transparency?: Uint8Array;
}

/** x0, y0, dx, dy of each pass: the pixels (x0 + i*dx, y0 + j*dy). */
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

function samplesPerPixel(colorType: number): number {
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

/** Size of the unpacked image data in bytes, filter bytes included. */
export function scanlineBytes(header: PngHeader): number {
  return passes(header).reduce((sum, { rows, stride }) => sum + rows * (stride + 1), 0);
}

function paeth(left: number, above: number, corner: number): number {
  const estimate = left + above - corner;
  const toLeft = Math.abs(estimate - left);
  const toAbove = Math.abs(estimate - above);
  const toCorner = Math.abs(estimate - corner);
  if (toLeft <= toAbove && toLeft <= toCorner) return left;
  return toAbove <= toCorner ? above : corner;
}

/** Undoes the filter of one row in place; `above` is the row before it (zeros for the first), `step` a pixel in bytes. */
function unfilter(filter: number, row: Uint8Array, above: Uint8Array, step: number): void {
  for (let i = 0; i < row.length; ++i) {
    const left = i < step ? 0 : (row[i - step] as number);
    const up = above[i] as number;
    const corner = i < step ? 0 : (above[i - step] as number);
    const value = row[i] as number;
    if (filter === 1) row[i] = value + left;
    else if (filter === 2) row[i] = value + up;
    else if (filter === 3) row[i] = value + ((left + up) >> 1);
    else if (filter === 4) row[i] = value + paeth(left, up, corner);
  }
}

/**
 * The samples of all pixels, (height, width, samples), one byte each, not yet scaled.
 * @throws PixelCnnError PNG_FILTER.
 */
export function unpackScanlines(header: PngHeader, scanlines: Uint8Array, where: string): Uint8Array {
  const { width, height, depth, colorType } = header;
  const samples = samplesPerPixel(colorType);
  const step = Math.max(1, (samples * depth) >> 3);
  const pixels = new Uint8Array(width * height * samples);
  let at = 0;
  for (const { x0, y0, dx, dy, columns, rows, stride } of passes(header)) {
    let above: Uint8Array = new Uint8Array(stride);
    for (let j = 0; j < rows; ++j) {
      const filter = scanlines[at] as number;
      check(
        filter <= 4,
        'PNG_FILTER',
        () => `row filter must be 0 to 4, got ${filter} in row ${y0 + j * dy}${where}`,
      );
      const row = scanlines.subarray(at + 1, at + 1 + stride);
      if (filter > 0) unfilter(filter, row, above, step);
      above = row;
      at += stride + 1;
      if (depth === 8 && dx === 1 && x0 === 0) {
        pixels.set(row, (y0 + j * dy) * width * samples);
        continue;
      }
      for (let i = 0; i < columns; ++i) {
        const target = ((y0 + j * dy) * width + x0 + i * dx) * samples;
        for (let s = 0; s < samples; ++s) {
          const bit = (i * samples + s) * depth;
          pixels[target + s] = ((row[bit >> 3] as number) >> (8 - depth - (bit & 7))) & (2 ** depth - 1);
        }
      }
    }
  }
  return pixels;
}

function expandPalette(
  header: PngHeader,
  pixels: Uint8Array,
  palette: PngPalette,
  where: string,
): RasterImage {
  const { width, height } = header;
  const colors = palette.colors ?? new Uint8Array(0);
  const entries = colors.length / 3;
  const channels = palette.transparency ? 4 : 3;
  const data = new Uint8Array(pixels.length * channels);
  for (let i = 0; i < pixels.length; ++i) {
    const index = pixels[i] as number;
    check(
      index < entries,
      'PNG_PALETTE',
      () => `pixel ${i} has colour ${index} of a palette of ${entries}${where}`,
    );
    for (let c = 0; c < 3; ++c) data[i * channels + c] = colors[3 * index + c] as number;
    if (palette.transparency) data[i * channels + 3] = palette.transparency[index] ?? 255;
  }
  return { data, width, height, channels };
}

/** The 8-bit image: palette looked up, samples scaled to 0…255, a transparent colour turned into alpha. */
export function expandPixels(
  header: PngHeader,
  pixels: Uint8Array,
  palette: PngPalette,
  where: string,
): RasterImage {
  const { width, height, depth, colorType } = header;
  if (colorType === 3) return expandPalette(header, pixels, palette, where);
  const samples = samplesPerPixel(colorType);
  const scale = 255 / (2 ** depth - 1); // 255, 85, 17 or 1
  const { transparency } = palette;
  if (!transparency)
    return { data: pixels.map((sample) => sample * scale), width, height, channels: samples };
  const channels = samples + 1;
  const data = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; ++i) {
    let transparent = true;
    for (let s = 0; s < samples; ++s) {
      const sample = pixels[i * samples + s] as number;
      data[i * channels + s] = sample * scale;
      if (sample !== transparency[2 * s + 1]) transparent = false;
    }
    data[i * channels + samples] = transparent ? 0 : 255;
  }
  return { data, width, height, channels };
}
