// One image file to pixels as they are meant to be seen: PNG by our own decoder, other formats by the package sharp.
import { check, PixelCnnError } from '../errors.js';
import { plainBytes } from './check-bytes.js';
import { orient } from './exif-orientation.js';
import { checkPixels, convertChannels, padding, refuseForLevels } from './image-conversion.js';
import type { ImageNotes } from './image-notes.js';
import type { CheckedImageSpec } from './image-spec.js';
import { decodeOrientedPng, type RasterImage } from './png.js';
import { type PngSetting, pngKind } from './png-header.js';
import { loadSharp, type SharpMetadata } from './sharp-package.js';

const turned = 'turned as the EXIF orientation says';

/**
 * Decodes a file, to 8 bits and turned as EXIF says. Photographs are resized on the way where that is asked for: a JPEG
 * is decoded at a fraction of its size then.
 * @throws PixelCnnError ERR_MISSING_PACKAGE, IMAGE_DECODE, ERR_LIMIT, ERR_INVALID_ARG_VALUE, those of decodePng.
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
  // Both an option of loadImages and, as a flag, of the commands take this text.
  const setting: PngSetting = (name, value) => `\`pngLimits\` '${name}=${value}'`;
  const { image: decoded, orientation } = decodeOrientedPng(bytes, { ...spec.pngLimits, file }, setting);
  if (spec.values === 'levels' && decoded.channels % 2 === 0) {
    refuseForLevels(`${file} has a transparent colour`, 'save it without transparency');
  }
  for (const note of decoded.notes) notes.count('read', note);
  const { data, width, height, channels } = decoded;
  if (orientation !== 1) notes.count('turned', turned);
  return orient({ data, width, height, channels }, orientation);
}

/** PNG samples of fewer or more bits are scaled to 8, palettes looked up: neither leaves levels as they are. */
function checkPngOfLevels(bytes: Uint8Array, file: string): void {
  const kind = pngKind(bytes);
  if (kind === undefined) return; // the decoder says what is wrong with it
  const { depth, colorType } = kind;
  const remedy = 'save it as PNG of 8 bits, grey or RGB, with the level as the value of a sample';
  if (colorType === 3)
    refuseForLevels(`${file} has a palette, whose colours are read, not its indices`, remedy);
  if (colorType !== 0 && colorType !== 2) refuseForLevels(`${file} has an alpha channel`, remedy);
  if (depth !== 8) refuseForLevels(`${file} has ${depth} bits a sample, which are scaled to 8`, remedy);
}

async function decodeWithSharp(
  bytes: Uint8Array,
  file: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): Promise<RasterImage> {
  if (spec.values === 'levels') {
    const remedy = 'save it as PNG, which keeps every number';
    refuseForLevels(`${file} is no PNG, and JPEG and its like store colours, not numbers`, remedy);
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
    // sharp would pad a grey image with grey, also where it is to become RGB.
    const colourLater = grey && (spec.channels ?? 1) >= 3;
    const resized = resize !== undefined && crops === undefined && !colourLater;
    if (resized) {
      const { width, height, fit } = resize;
      const background = padding(spec.background, grey ? 1 : 3);
      pipeline = pipeline.resize(width, height, { fit, background });
      if (seen.width !== width || seen.height !== height) notes.resized(seen.width, seen.height);
    }
    const { data, info } = await pipeline.raw().toBuffer({ resolveWithObject: true });
    tellChanges(metadata, notes);
    const { width, height } = info;
    // sharp gives grey as RGB.
    const channels = grey ? (metadata.hasAlpha ? 2 : 1) : info.channels;
    return { data: convertChannels(plainBytes(data), info.channels, channels), width, height, channels };
  } catch (cause) {
    if (cause instanceof PixelCnnError) throw cause;
    throw new PixelCnnError('IMAGE_DECODE', `cannot decode ${file}: ${String(cause)}`, { cause });
  }
}

function checkMetadata({ width, height, depth }: SharpMetadata, file: string): void {
  checkPixels({ width, height }, `${file} has`, 'make it smaller first');
  // sharp would clip other samples to 0…255, which are not their colours.
  check(depth === 'uchar' || depth === 'ushort', 'IMAGE_DECODE', () => {
    return `${file} has samples of type ${depth}: convert it to 8 or 16 bits first`;
  });
}

function isGrey({ space }: SharpMetadata): boolean {
  return space === 'b-w' || space === 'grey16';
}

/** Width and height as the image is seen. */
function uprightSize({ width, height, orientation = 1 }: SharpMetadata) {
  return orientation >= 5 ? { width: height, height: width } : { width, height };
}

function tellChanges({ orientation = 1, pages = 1, depth, space }: SharpMetadata, notes: ImageNotes): void {
  if (orientation > 1) notes.count('turned', turned);
  if (pages > 1) notes.count('read', 'the first of several frames or pages was taken');
  if (depth === 'ushort') notes.count('read', 'samples of 16 bits were scaled to 8');
  if (space === 'cmyk') notes.count('channels', 'converted from CMYK to RGB');
}
