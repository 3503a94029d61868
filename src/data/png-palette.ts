// Parses the PNG chunks PLTE and tRNS: the colours of a palette and what is transparent.
//
// Faults that libpng tolerates are tolerated too, with one difference: libpng ignores a tRNS chunk that has
// more entries than the palette, while the entries that fit are used here.
import { check } from '../errors.js';
import { NOTES, type PngHeader, type Tolerate } from './png-header.js';
import { type PngPalette, samplesPerPixel } from './png-pixels.js';

/**
 * Puts the colours of the PLTE chunk `data` into `palette`. `late` is true if image data came before the
 * chunk.
 */
export function parsePalette(
  data: Uint8Array,
  header: PngHeader,
  palette: PngPalette,
  late: boolean,
  where: string,
  tolerate: Tolerate,
): void {
  const { colorType, depth } = header;
  const indexed = colorType === 3;
  const order = `PLTE must come once, before tRNS and IDAT${where}`;
  check(palette.colors === undefined && !(indexed && late), 'PNG_CHUNK_ORDER', () => order);
  const entries = data.length / 3;
  const limit = indexed ? 2 ** depth : 256;
  const wrong = `PLTE of ${data.length} bytes is not 1 to ${limit} entries of 3 bytes${where}`;
  const valid = Number.isInteger(entries) && entries >= 1 && entries <= 256;
  palette.colors = data.subarray(0, 3 * limit);
  if (indexed) {
    check(valid, 'PNG_PALETTE', () => wrong);
    if (entries > limit) tolerate('PNG_PALETTE', wrong, NOTES.paletteEntries);
    return;
  }
  if (late || palette.transparency !== undefined) {
    tolerate('PNG_CHUNK_ORDER', order, NOTES.palette);
  } else if (!valid) {
    tolerate('PNG_PALETTE', wrong, NOTES.palette);
  } else if (colorType === 0 || colorType === 4) {
    tolerate('PNG_PALETTE', `grey image with a palette${where}`, NOTES.palette);
  }
}

/**
 * Parses the tRNS chunk `data` and returns the new value of `palette.transparency`. `late` is true if image
 * data came before the chunk.
 */
export function parseTransparency(
  data: Uint8Array,
  header: PngHeader,
  palette: PngPalette,
  late: boolean,
  where: string,
  tolerate: Tolerate,
): Uint8Array | Uint16Array | undefined {
  const { colorType, depth } = header;
  if (late || palette.transparency !== undefined) {
    tolerate('PNG_CHUNK_ORDER', `tRNS must come once, before IDAT${where}`, NOTES.transparencyRepeated);
    return palette.transparency;
  }
  if (colorType >= 4) {
    const message = `tRNS in an image with an alpha channel (colour type ${colorType})${where}`;
    return tolerate('PNG_TRNS', message, NOTES.transparencyWithAlpha);
  }
  if (colorType === 3) {
    if (palette.colors === undefined) {
      return tolerate('PNG_TRNS', `tRNS before PLTE${where}`, NOTES.transparency);
    }
    const entries = palette.colors.length / 3;
    const message = `tRNS of ${data.length} entries for a palette of ${entries}${where}`;
    if (data.length === 0) return tolerate('PNG_TRNS', message, NOTES.transparency);
    if (data.length > entries) tolerate('PNG_TRNS', message, NOTES.transparencyEntries);
    return data.subarray(0, entries);
  }
  const samples = samplesPerPixel(colorType);
  if (data.length !== 2 * samples) {
    const message = `tRNS has ${2 * samples} bytes, got ${data.length}${where}`;
    return tolerate('PNG_TRNS', message, NOTES.transparency);
  }
  return Uint16Array.from({ length: samples }, (_, i) => {
    const sample = ((data[2 * i] as number) << 8) | (data[2 * i + 1] as number);
    if (sample >= 2 ** depth) {
      const message = `tRNS sample ${sample} needs more than ${depth} bits${where}`;
      tolerate('PNG_TRNS', message, NOTES.transparencyBits);
    }
    return sample & (2 ** depth - 1);
  });
}
