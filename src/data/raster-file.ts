// Decodes an image file to upright 8-bit pixels: PNG with our own decoder, others with the package sharp.
import { check, PixelCnnError } from '../errors.js';
import { plainBytes } from './check-array.js';
import { orient } from './exif-orientation.js';
import type { RasterImage } from './image-batch.js';
import { checkPixels, convertChannels, levelsError, sharpColour } from './image-conversion.js';
import type { ImageNotes } from './image-notes.js';
import type { CheckedImageSpec } from './image-spec.js';
import { decodeOrientedPng } from './png.js';
import { type PngSetting, pngKind } from './png-header.js';
import { loadSharp, type SharpMetadata } from './sharp-package.js';

const turned = 'turned as the EXIF orientation says';

/**
 * Decodes a file to 8 bits and turns the image as its EXIF orientation says. If `spec` asks for a size, sharp
 * resizes the image while decoding, which is much faster: it decodes a JPEG at a fraction of its full size.
 */
export async function decodeFile(
  bytes: Uint8Array,
  kind: 'png' | 'sharp',
  file: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): Promise<RasterImage> {
  return kind === 'png' ? decodePngFile(bytes, file, spec, notes) : decodeWithSharp(bytes, file, spec, notes);
}

function decodePngFile(
  bytes: Uint8Array,
  file: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): RasterImage {
  if (spec.values === 'levels') checkPngOfLevels(bytes, file);
  // Both the option of loadImages and the flag of the commands accept this text.
  const setting: PngSetting = (name, value) => `\`pngLimits\` '${name}=${value}'`;
  const { image: decoded, orientation } = decodeOrientedPng(bytes, { ...spec.pngLimits, file }, setting);
  if (spec.values === 'levels' && decoded.channels % 2 === 0) {
    throw levelsError(`${file} has a transparent colour`, 'save it without transparency');
  }
  for (const note of decoded.notes) notes.count('read', note);
  const { data, width, height, channels } = decoded;
  if (orientation !== 1) notes.count('turned', turned);
  return orient({ data, width, height, channels }, orientation);
}

/**
 * Throws if decoding a PNG file would change its numbers, which must be levels: by scaling them or by a
 * palette.
 */
function checkPngOfLevels(bytes: Uint8Array, file: string): void {
  const kind = pngKind(bytes);
  if (kind === undefined) return; // the decoder reports what is wrong with the file
  const { depth, colorType } = kind;
  const remedy = 'save it as PNG of 8 bits, grey or RGB, with the level as the value of a sample';
  if (colorType === 3)
    throw levelsError(`${file} has a palette, whose colours are read, not its indices`, remedy);
  if (colorType !== 0 && colorType !== 2) throw levelsError(`${file} has an alpha channel`, remedy);
  if (depth !== 8) throw levelsError(`${file} has ${depth} bits a sample, which are scaled to 8`, remedy);
}

async function decodeWithSharp(
  bytes: Uint8Array,
  file: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): Promise<RasterImage> {
  if (spec.values === 'levels') {
    const remedy = 'save it as PNG, which keeps every number';
    throw levelsError(`${file} is no PNG, and JPEG and its like store colours, not numbers`, remedy);
  }
  const sharp = await loadSharp(`reading ${file}`);
  const open = () => sharp(bytes, { failOn: 'warning', limitInputPixels: false });
  try {
    const metadata = await open().metadata();
    checkMetadata(metadata, file);
    const grey = isGrey(metadata);
    let pipeline = open().rotate();
    const { resize, crops } = spec;
    const seen = uprightSize(metadata);
    // sharp would pad a grey image with grey. If it is to become RGB, it is resized later, after the
    // conversion.
    const colourLater = grey && (spec.channels ?? 1) >= 3;
    const resized = resize !== undefined && crops === undefined && !colourLater;
    if (resized) {
      const { width, height, fit } = resize;
      const background = sharpColour(spec.background, grey ? 1 : 3);
      pipeline = pipeline.resize(width, height, { fit, background });
      if (seen.width !== width || seen.height !== height) notes.resized(seen.width, seen.height);
    }
    const { data, info } = await pipeline.raw().toBuffer({ resolveWithObject: true });
    noteChanges(metadata, notes);
    const { width, height } = info;
    // sharp returns grey images as RGB.
    const channels = grey ? (metadata.hasAlpha ? 2 : 1) : info.channels;
    return { data: convertChannels(plainBytes(data), info.channels, channels), width, height, channels };
  } catch (cause) {
    if (cause instanceof PixelCnnError) throw cause;
    throw new PixelCnnError('IMAGE_DECODE', `cannot decode ${file}: ${String(cause)}`, { cause });
  }
}

function checkMetadata({ width, height, depth }: SharpMetadata, file: string): void {
  checkPixels({ width, height }, `${file} has`, 'make it smaller first');
  // sharp would clip other types of samples to 0…255, which would change the colours.
  check(depth === 'uchar' || depth === 'ushort', 'IMAGE_DECODE', () => {
    return `${file} has samples of type ${depth}: convert it to 8 or 16 bits first`;
  });
}

function isGrey({ space }: SharpMetadata): boolean {
  return space === 'b-w' || space === 'grey16';
}

/** Returns the width and height of the image after it was turned. */
function uprightSize({ width, height, orientation = 1 }: SharpMetadata) {
  return orientation >= 5 ? { width: height, height: width } : { width, height };
}

function noteChanges({ orientation = 1, pages = 1, depth, space }: SharpMetadata, notes: ImageNotes): void {
  if (orientation > 1) notes.count('turned', turned);
  if (pages > 1) notes.count('read', 'the first of several frames or pages was taken');
  if (depth === 'ushort') notes.count('read', 'samples of 16 bits were scaled to 8');
  if (space === 'cmyk') notes.count('channels', 'converted from CMYK to RGB');
}
