// The PNG chunks PLTE and tRNS: the colours of a palette and what is transparent. What does not fit is forgiven as
// libpng forgives it, but for entries too many, of which those that fit are used.
import { check } from '../errors.js';
import { type Forgive, NOTES, type PngHeader } from './png-header.js';
import { type PngPalette, samplesPerPixel } from './png-pixels.js';

/**
 * Takes the PLTE chunk `data` into `palette`; `late` says that image data came before it.
 * @throws PixelCnnError PNG_CHUNK_ORDER, PNG_PALETTE.
 */
export function parsePalette(
  data: Uint8Array,
  header: PngHeader,
  palette: PngPalette,
  late: boolean,
  where: string,
  forgive: Forgive,
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
    if (entries > limit) forgive('PNG_PALETTE', wrong, NOTES.paletteEntries);
    return;
  }
  if (late || palette.transparency !== undefined) {
    forgive('PNG_CHUNK_ORDER', order, NOTES.palette);
  } else if (!valid) {
    forgive('PNG_PALETTE', wrong, NOTES.palette);
  } else if (colorType === 0 || colorType === 4) {
    forgive('PNG_PALETTE', `grey image with a palette${where}`, NOTES.palette);
  }
}

/**
 * What `palette.transparency` is after the tRNS chunk `data`; `late` says that image data came before it.
 * @throws PixelCnnError PNG_CHUNK_ORDER, PNG_TRNS, where they are not forgiven.
 */
export function parseTransparency(
  data: Uint8Array,
  header: PngHeader,
  palette: PngPalette,
  late: boolean,
  where: string,
  forgive: Forgive,
): Uint8Array | Uint16Array | undefined {
  const { colorType, depth } = header;
  if (late || palette.transparency !== undefined) {
    forgive('PNG_CHUNK_ORDER', `tRNS must come once, before IDAT${where}`, NOTES.transparencyRepeated);
    return palette.transparency;
  }
  if (colorType >= 4) {
    const message = `tRNS in an image with an alpha channel (colour type ${colorType})${where}`;
    return forgive('PNG_TRNS', message, NOTES.transparencyWithAlpha);
  }
  if (colorType === 3) {
    if (palette.colors === undefined) {
      return forgive('PNG_TRNS', `tRNS before PLTE${where}`, NOTES.transparency);
    }
    const entries = palette.colors.length / 3;
    const message = `tRNS of ${data.length} entries for a palette of ${entries}${where}`;
    if (data.length === 0) return forgive('PNG_TRNS', message, NOTES.transparency);
    if (data.length > entries) forgive('PNG_TRNS', message, NOTES.transparencyEntries);
    return data.subarray(0, entries);
  }
  const samples = samplesPerPixel(colorType);
  if (data.length !== 2 * samples) {
    const message = `tRNS has ${2 * samples} bytes, got ${data.length}${where}`;
    return forgive('PNG_TRNS', message, NOTES.transparency);
  }
  return Uint16Array.from({ length: samples }, (_, i) => {
    const sample = ((data[2 * i] as number) << 8) | (data[2 * i + 1] as number);
    if (sample >= 2 ** depth) {
      const message = `tRNS sample ${sample} needs more than ${depth} bits${where}`;
      forgive('PNG_TRNS', message, NOTES.transparencyBits);
    }
    return sample & (2 ** depth - 1);
  });
}
