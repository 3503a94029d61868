// Changes of one raster image: number of channels, transparency, size and crops.
import { check, PixelCnnError } from '../errors.js';
import { philox } from '../random/philox.js';
import { plainBytes } from './check-bytes.js';
import type { Colour, Fit } from './image-spec.js';
import type { RasterImage } from './png.js';
import { loadSharp } from './sharp-package.js';

/** Last counter word of Philox for augmentation, so that it shares no random word with other uses of a seed. */
const AUGMENTATION_STREAM = 4;
/** Images of more pixels than this take gigabytes. */
const MAXIMUM_PIXELS = 2 ** 26;
const WHITE: Colour = [255, 255, 255];

/** @throws PixelCnnError ERR_LIMIT for a size of too many pixels; `what` begins the message. */
export function checkPixels(
  { width, height }: { readonly width: number; readonly height: number },
  what: string,
  remedy: string,
): void {
  if (width * height <= MAXIMUM_PIXELS) return;
  const message = `${what} ${width}x${height} = ${width * height} pixels, limit ${MAXIMUM_PIXELS}`;
  throw new PixelCnnError('ERR_LIMIT', message, { remedy });
}

/** ITU-R BT.601 luma, rounded. */
export function luma(red: number, green: number, blue: number): number {
  return Math.round((299 * red + 587 * green + 114 * blue) / 1000);
}

/**
 * Pixels with another number of channels (1 grey, 2 grey+alpha, 3 RGB, 4 RGBA), (pixels, from) to (pixels, to). Grey
 * is the ITU-R BT.601 luma 0.299 R + 0.587 G + 0.114 B, rounded. Alpha that is dropped is composed on `background`,
 * and 255 where there was none.
 * @throws PixelCnnError IMAGE_SHAPE for other numbers of channels.
 */
export function convertChannels(
  data: Uint8Array,
  from: number,
  to: number,
  background: Colour = WHITE,
): Uint8Array {
  if (from === to) return data;
  check(from >= 1 && from <= 4 && to >= 1 && to <= 4, 'IMAGE_SHAPE', () => {
    return `cannot convert images of ${from} channels to ${to}`;
  });
  const pixels = data.length / from;
  const result = new Uint8Array(pixels * to);
  const [colours, targetColours] = [from < 3 ? 1 : 3, to < 3 ? 1 : 3];
  const composed = from > colours && to === targetColours;
  const rgb = [0, 0, 0];
  for (let i = 0; i < pixels; ++i) {
    const alpha = from > colours ? (data[i * from + colours] as number) : 255;
    for (let c = 0; c < 3; ++c) {
      const value = data[i * from + (colours === 3 ? c : 0)] as number;
      rgb[c] = composed
        ? Math.round((alpha * value + (255 - alpha) * (background[c] as number)) / 255)
        : value;
    }
    if (targetColours === 3) result.set(rgb, i * to);
    else result[i * to] = luma(rgb[0] as number, rgb[1] as number, rgb[2] as number);
    if (to > targetColours) result[i * to + targetColours] = alpha;
  }
  return result;
}

/** Whether any pixel of an image with alpha (2 or 4 channels) is not opaque. */
export function isTransparent({ data, channels }: RasterImage): boolean {
  if (channels % 2 === 1) return false;
  for (let i = channels - 1; i < data.length; i += channels) if (data[i] !== 255) return true;
  return false;
}

/**
 * The image, called `name` in errors, at width x height pixels. `fit` 'cover' fills the size and cuts off what overhangs, 'contain' pads with
 * `background`, 'fill' stretches.
 * @throws PixelCnnError ERR_MISSING_PACKAGE, IMAGE_SHAPE (more than 4 channels), IMAGE_RESIZE (sharp cannot do it, as
 * where the sides are too far from those of the image).
 */
export async function resizeImage(
  image: RasterImage,
  name: string,
  size: { readonly width: number; readonly height: number; readonly fit: Fit },
  background: Colour = WHITE,
): Promise<RasterImage> {
  const { width, height, fit } = size;
  if (image.width === width && image.height === height) return image;
  check(image.channels <= 4, 'IMAGE_SHAPE', () => `cannot resize images of ${image.channels} channels`);
  const sharp = await loadSharp(`resize from ${image.width}x${image.height} to ${width}x${height}`);
  const raw = { width: image.width, height: image.height, channels: image.channels };
  let pipeline = sharp(image.data, { raw }).resize(width, height, {
    fit,
    background: padding(background, image.channels),
  });
  if (image.channels < 3) pipeline = pipeline.toColourspace('b-w');
  const { data, info } = await pipeline
    .raw()
    .toBuffer({ resolveWithObject: true })
    .catch((cause: unknown) => {
      const sizes = `from ${image.width}x${image.height} to ${width}x${height} (${fit})`;
      throw new PixelCnnError('IMAGE_RESIZE', `cannot resize ${name} ${sizes}: ${String(cause)}`, {
        remedy: 'give a `resize` whose proportions are nearer to those of the image, or leave the image out',
        cause,
      });
    });
  check(info.channels === image.channels, 'IMAGE_SHAPE', () => {
    return `resize turned ${image.channels} channels into ${info.channels}`;
  });
  return { data: plainBytes(data), width, height, channels: image.channels };
}

/** A colour as sharp takes it; for grey images it is grey. */
export function padding([r, g, b]: Colour, channels: number) {
  const grey = luma(r, g, b);
  return channels < 3 ? { r: grey, g: grey, b: grey, alpha: 1 } : { r, g, b, alpha: 1 };
}

/**
 * The piece `crop` of image number `index`: width x height pixels at a place that is a function of the two numbers.
 * The image must be at least that large.
 */
export function cropImage(
  image: RasterImage,
  size: { readonly width: number; readonly height: number },
  index: number,
  crop: number,
): RasterImage {
  const { width, height } = size;
  const { channels } = image;
  const words = philox([index, crop, 0, AUGMENTATION_STREAM], [0, 0]);
  const place = (word: number, places: number) => Math.floor((word * places) / 2 ** 32);
  const left = place(words[0] as number, image.width - width + 1);
  const top = place(words[1] as number, image.height - height + 1);
  const row = width * channels;
  const data = new Uint8Array(height * row);
  for (let y = 0; y < height; ++y) {
    const from = ((top + y) * image.width + left) * channels;
    data.set(image.data.subarray(from, from + row), y * row);
  }
  return { data, width, height, channels };
}

/** The size of an image enlarged, sides in proportion, until a crop fits into it; the image's own where it fits. */
export function coveringSize(
  image: { readonly width: number; readonly height: number },
  crop: { readonly width: number; readonly height: number },
): { width: number; height: number } {
  const scale = Math.max(1, crop.width / image.width, crop.height / image.height);
  const along = (side: number, least: number) => Math.max(least, Math.round(side * scale));
  return { width: along(image.width, crop.width), height: along(image.height, crop.height) };
}

/** @throws PixelCnnError ERR_INVALID_ARG_VALUE: with `values` 'levels', `what` would change the numbers. */
export function refuseForLevels(what: string, remedy: string): never {
  const message = `with \`values\` 'levels' nothing may change the numbers of the images: ${what}`;
  throw new PixelCnnError('ERR_INVALID_ARG_VALUE', message, { remedy });
}
