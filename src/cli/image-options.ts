// How commands read images: the options for it, and reading with progress and notes.
import type { ImageBatch } from '../data/image-batch.js';
import { fits, imageOptionsSchema, specOfText } from '../data/image-spec.js';
import { type LoadedImages, loadImages } from '../data/load-images.js';
import { z } from '../options.js';
import type { PixelCNN } from '../pixelcnn.js';
import { UsageError } from './failure.js';
import { type Terminal, thousands } from './terminal.js';

const { limit, channels, resize, crops, background, values, pngLimits } = imageOptionsSchema.shape;

/** Options of every command that reads images; `fit` is a flag of its own, in the API it is part of `resize`. */
export const imageOptions = {
  limit: limit.describe('use the first N images only'),
  channels: channels.describe(
    'convert images to 1 (grey), 3 (RGB) or 4 (RGBA) channels; default: as they are',
  ),
  resize: resize.describe(
    'bring every image to this size: 32, or 64x48 (width x height); needs the package sharp',
  ),
  fit: z
    .enum(fits)
    .optional()
    .describe(
      'how --resize does it: cover cuts off what overhangs (the default), contain pads, fill stretches',
    ),
  crops: crops.describe(
    'cut N pieces of the size --resize out of each image, at fixed places, instead of resizing it',
  ),
  background: background.describe(
    'what transparency is shown on and --fit contain pads with: a grey byte or a colour, e.g. #ff8000; default 255, white',
  ),
  values: values.describe(
    'what the numbers in the images are: bytes 0 to 255, or levels themselves, as of masks and codes',
  ),
  pngLimits: pngLimits.describe(
    'limits on PNG files, e.g. maxSide=20000,maxBytes=800000000 (also maxCompressedBytes, maxChunks); strict=true refuses what departs from the standard',
  ),
};
const schema = z.strictObject(imageOptions);
export type ImageFlags = z.output<typeof schema>;

export const imagesText =
  'mnist, mnist:test, fashion-mnist, an IDX or CIFAR-10 file, an image, or a folder of images, whose subfolders are ' +
  'classes; :test, :train or :val after a folder takes that split of it';

/** What images for a model hold where no flag says it: levels if it was trained on those, else they are looked at. */
export function valuesFor(model: PixelCNN, { values }: Pick<ImageFlags, 'values'>): ImageFlags['values'] {
  return values ?? (model.values === 'levels' ? 'levels' : undefined);
}

/**
 * Refuses images of a split that nobody named: what a number is of must not be left to a default.
 * @throws UsageError.
 */
export async function checkNamedSplit(flag: string, text: string, images: LoadedImages): Promise<void> {
  if (images.split === undefined || (await specOfText(text)).split !== undefined) return;
  throw new UsageError(`train: --${flag} ${text}: it has splits, and none is named`, 'train', {
    remedy: `say which: --${flag} ${text}:${flag === 'test' ? 'test' : 'val'}`,
  });
}

/** What the images of a batch are: those of the data, or `crops` of them. */
export function unitOf({ crops }: Pick<ImageFlags, 'crops'>): 'images' | 'crops' {
  return crops === undefined ? 'images' : 'crops';
}

/** `60,000 images`, or `18 crops of 6 images`, for a batch of `count`; with a size `18 crops of 8x8x1 from 6 images`. */
export function countText(count: number, { crops }: Pick<ImageFlags, 'crops'>, size?: string): string {
  const ofSize = size === undefined ? '' : ` of ${size}`;
  if (crops === undefined) return `${thousands(count)} images${ofSize}`;
  const whole = `${thousands(Math.ceil(count / crops))} images`;
  return `${thousands(count)} crops${ofSize} ${size === undefined ? 'of' : 'from'} ${whole}`;
}

/** `28x28x1`, height x width x channels. */
export function sizeOf({ height, width, channels }: ImageBatch): string {
  return `${height}x${width}x${channels}`;
}

/** Says so where images have another size than those that the model was trained on: their numbers do not compare. */
export function tellOtherSize(name: string, images: ImageBatch, model: PixelCNN, terminal: Terminal): void {
  const { imageSize } = model;
  if (imageSize === undefined) return;
  if (imageSize.height === images.height && imageSize.width === images.width) return;
  const trained = `${imageSize.height}x${imageSize.width}`;
  terminal.note(
    `${name}: images of ${images.height}x${images.width}; the model was trained on ${trained} (height x width)`,
    'yellow',
  );
}

/** Images by the text of a flag, with progress; tells what was done to them. */
export async function readImages(
  text: string,
  options: ImageFlags,
  terminal: Terminal,
  signal?: AbortSignal,
): Promise<LoadedImages> {
  const { limit, channels, resize, fit, crops, background, values, pngLimits } = options;
  if (fit !== undefined && resize === undefined)
    throw new UsageError('--fit says how --resize does it: give both');
  const images = await loadImages({
    ...(await specOfText(text)),
    limit,
    channels,
    crops,
    background,
    values,
    pngLimits,
    resize: resize && { ...resize, fit: fit ?? resize.fit },
    signal,
    onEvent: ({ done, of }) => terminal.live(`reading ${text} ${done}/${of}`),
  });
  terminal.clear();
  for (const note of images.notes) terminal.note(`${text}: ${note}`, 'dim');
  return images;
}
