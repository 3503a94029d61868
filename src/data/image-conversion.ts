// Changes the number of channels or the size of a single image, and cuts crops from it.
import { check, PixelCnnError } from '../errors.js';
import { philox } from '../random/philox.js';
import { plainBytes } from './check-array.js';
import type { RasterImage } from './image-batch.js';
import type { Colour, Fit } from './image-spec.js';
import { loadSharp } from './sharp-package.js';

/**
 * The last counter word of Philox for crops. Each use of a seed has another one, so that no two share random
 * words.
 */
const AUGMENTATION_STREAM = 4;
/** Limit of the pixels of one image. Decoding a larger one would take gigabytes of memory. */
const MAXIMUM_PIXELS = 2 ** 26;
const WHITE: Colour = [255, 255, 255];

/** Throws ERR_LIMIT if a size has too many pixels. `subject` begins the message. */
export function checkPixels(
  { width, height }: { readonly width: number; readonly height: number },
  subject: string,
  remedy: string,
): void {
  if (width * height <= MAXIMUM_PIXELS) return;
  const message = `${subject} ${width}x${height} = ${width * height} pixels, limit ${MAXIMUM_PIXELS}`;
  throw new PixelCnnError('ERR_LIMIT', message, { remedy });
}

/** Converts a colour to grey: the ITU-R BT.601 luma 0.299 R + 0.587 G + 0.114 B, rounded. */
export function luma(red: number, green: number, blue: number): number {
  return Math.round((299 * red + 587 * green + 114 * blue) / 1000);
}

/**
 * Converts pixels (pixels, from) to (pixels, to), where the numbers of channels mean 1 grey, 2 grey and
 * alpha, 3 RGB and 4 RGBA. Colours become grey by {@link luma}. If the result has no alpha channel,
 * transparent pixels are composed on `background`. If only the result has one, it is opaque (255).
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

/** Whether any pixel is not opaque. Images of 1 or 3 channels have no alpha and are always opaque. */
export function isTransparent({ data, channels }: RasterImage): boolean {
  if (channels % 2 === 1) return false;
  for (let i = channels - 1; i < data.length; i += channels) if (data[i] !== 255) return true;
  return false;
}

/**
 * Resizes an image of at most 4 channels to width x height pixels with the package sharp. `fit` 'cover' fills
 * the size and cuts off the rest of the image, 'contain' pads the image with `background`, and 'fill'
 * stretches it. Errors call the image `name`.
 * @throws PixelCnnError IMAGE_RESIZE if sharp cannot do it, for example because the proportions differ too
 * much.
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
    background: sharpColour(background, image.channels),
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

/** Converts a colour to the form that sharp takes. For images of 1 or 2 channels it becomes grey. */
export function sharpColour([r, g, b]: Colour, channels: number) {
  const grey = luma(r, g, b);
  return channels < 3 ? { r: grey, g: grey, b: grey, alpha: 1 } : { r, g, b, alpha: 1 };
}

/**
 * Cuts crop number `crop`, of width x height pixels, from image number `index`. The place is random, but
 * depends only on these two numbers. The image must be at least as large as the crop.
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

/**
 * Returns the smallest size, in the proportions of the image, that is at least the image's own and holds the
 * crop.
 */
export function coveringSize(
  image: { readonly width: number; readonly height: number },
  crop: { readonly width: number; readonly height: number },
): { width: number; height: number } {
  const scale = Math.max(1, crop.width / image.width, crop.height / image.height);
  const along = (side: number, least: number) => Math.max(least, Math.round(side * scale));
  return { width: along(image.width, crop.width), height: along(image.height, crop.height) };
}

/**
 * Creates the error for a `change` that is not allowed with `values` 'levels', because it would alter the
 * numbers.
 */
export function levelsError(change: string, remedy: string): PixelCnnError {
  const message = `with \`values\` 'levels' nothing may change the numbers of the images: ${change}`;
  return new PixelCnnError('ERR_INVALID_ARG_VALUE', message, { remedy });
}
