// Changes of one raster image: number of channels (here) and size or file format (by the optional package sharp).
import { check, PixelCnnError } from '../errors.js';
import { plainBytes } from './byte-array.js';
import type { RasterImage } from './png.js';

/** The part of sharp that is used; the package is optional, so its own types may be absent. */
interface SharpImage {
  resize(width: number, height: number, options: { fit: 'fill' }): SharpImage;
  toColourspace(space: string): SharpImage;
  raw(): SharpImage;
  toBuffer(options: {
    resolveWithObject: true;
  }): Promise<{ data: Buffer; info: { width: number; height: number; channels: number } }>;
}
type Sharp = (input: Uint8Array, options?: object) => SharpImage;

async function loadSharp(purpose: string): Promise<Sharp> {
  const packageName: string = 'sharp'; // not a literal in import(), so it compiles without the package
  try {
    const module = (await import(packageName)) as { default: Sharp };
    return module.default;
  } catch (cause) {
    throw new PixelCnnError('ERR_MISSING_PACKAGE', `${purpose} needs the package sharp`, {
      remedy: 'npm install sharp',
      cause,
    });
  }
}

/**
 * Decodes JPEG, WebP and what else sharp reads, to 8 bits.
 * @throws PixelCnnError ERR_MISSING_PACKAGE, IMAGE_DECODE.
 */
export async function decodeWithSharp(bytes: Uint8Array, file: string): Promise<RasterImage> {
  const sharp = await loadSharp(`reading ${file}`);
  try {
    const pipeline = sharp(bytes, { failOn: 'warning', limitInputPixels: 2 ** 26 });
    const { data, info } = await pipeline.raw().toBuffer({ resolveWithObject: true });
    return { data: plainBytes(data), width: info.width, height: info.height, channels: info.channels };
  } catch (cause) {
    throw new PixelCnnError('IMAGE_DECODE', `cannot decode ${file}: ${String(cause)}`, { cause });
  }
}

/** The image stretched to width x height pixels. @throws PixelCnnError ERR_MISSING_PACKAGE. */
export async function resizeImage(image: RasterImage, width: number, height: number): Promise<RasterImage> {
  if (image.width === width && image.height === height) return image;
  const sharp = await loadSharp(`resize from ${image.width}x${image.height} to ${width}x${height}`);
  const raw = { width: image.width, height: image.height, channels: image.channels };
  let pipeline = sharp(image.data, { raw }).resize(width, height, { fit: 'fill' });
  if (image.channels < 3) pipeline = pipeline.toColourspace('b-w');
  const { data, info } = await pipeline.raw().toBuffer({ resolveWithObject: true });
  check(info.channels === image.channels, 'IMAGE_SHAPE', () => {
    return `resize turned ${image.channels} channels into ${info.channels}`;
  });
  return { data: plainBytes(data), width, height, channels: image.channels };
}

/**
 * Pixels with another number of channels (1 grey, 2 grey+alpha, 3 RGB, 4 RGBA), (pixels, from) to (pixels, to). Grey
 * is the ITU-R BT.601 luma 0.299 R + 0.587 G + 0.114 B, rounded; alpha is dropped, or 255 where there was none.
 * @throws PixelCnnError IMAGE_SHAPE for other numbers of channels.
 */
export function convertChannels(data: Uint8Array, from: number, to: number): Uint8Array {
  if (from === to) return data;
  check(from >= 1 && from <= 4 && to >= 1 && to <= 4, 'IMAGE_SHAPE', () => {
    return `cannot convert images of ${from} channels to ${to}`;
  });
  const pixels = data.length / from;
  const result = new Uint8Array(pixels * to);
  const [colors, targetColors] = [from < 3 ? 1 : 3, to < 3 ? 1 : 3];
  for (let i = 0; i < pixels; ++i) {
    const red = data[i * from] as number;
    const green = colors === 3 ? (data[i * from + 1] as number) : red;
    const blue = colors === 3 ? (data[i * from + 2] as number) : red;
    if (targetColors === 3) result.set([red, green, blue], i * to);
    else result[i * to] = colors === 1 ? red : Math.round((299 * red + 587 * green + 114 * blue) / 1000);
    if (to > targetColors)
      result[i * to + targetColors] = from > colors ? (data[i * from + colors] as number) : 255;
  }
  return result;
}
