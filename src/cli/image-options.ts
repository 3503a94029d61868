// Defines the options by which commands read images, and reads them with progress and notes.
import type { ImageBatch } from '../data/image-batch.js';
import { fits, imageOptionsSchema, specOfText } from '../data/image-spec.js';
import { type LoadedImages, loadImages } from '../data/load-images.js';
import { z } from '../options.js';
import type { PixelCNN } from '../pixelcnn.js';
import { UsageError } from './failure.js';
import { type Terminal, thousands } from './terminal.js';

const { limit, channels, resize, crops, background, values, pngLimits } = imageOptionsSchema.shape;

/**
 * The options of every command that reads images. `--fit` is a separate flag here, but part of `resize` in
 * the API.
 */
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

/**
 * Says whether images for a model hold bytes or levels. Without a flag they hold levels if the model was
 * trained on levels; otherwise undefined, and they are checked when they are used.
 */
export function valuesFor(model: PixelCNN, { values }: Pick<ImageFlags, 'values'>): ImageFlags['values'] {
  return values ?? (model.values === 'levels' ? 'levels' : undefined);
}

/**
 * Checks that the user named a split if the data have splits, because a result must not depend on a default
 * split.
 * @throws UsageError if none was named.
 */
export async function checkNamedSplit(flag: string, text: string, images: LoadedImages): Promise<void> {
  if (images.split === undefined || (await specOfText(text)).split !== undefined) return;
  throw new UsageError(`train: --${flag} ${text}: it has splits, and none is named`, 'train', {
    remedy: `say which: --${flag} ${text}:${flag === 'test' ? 'test' : 'val'}`,
  });
}

/** Whether the images of a batch are whole images or crops. */
export function unitOf({ crops }: Pick<ImageFlags, 'crops'>): 'images' | 'crops' {
  return crops === undefined ? 'images' : 'crops';
}

/**
 * Describes a batch of `count` images: `60,000 images`, `18 crops of 6 images` or, with a size, `18 crops of
 * 8x8x1 from 6 images`.
 */
export function countText(count: number, { crops }: Pick<ImageFlags, 'crops'>, size?: string): string {
  const ofSize = size === undefined ? '' : ` of ${size}`;
  if (crops === undefined) return `${thousands(count)} images${ofSize}`;
  const whole = `${thousands(Math.ceil(count / crops))} images`;
  return `${thousands(count)} crops${ofSize} ${size === undefined ? 'of' : 'from'} ${whole}`;
}

/** Height x width x channels, e.g. `28x28x1`. */
export function sizeOf({ height, width, channels }: ImageBatch): string {
  return `${height}x${width}x${channels}`;
}

/** Notes if images have another size than those of the training, because their losses are not comparable. */
export function noteOtherSize(name: string, images: ImageBatch, model: PixelCNN, terminal: Terminal): void {
  const { imageSize } = model;
  if (imageSize === undefined) return;
  if (imageSize.height === images.height && imageSize.width === images.width) return;
  const trained = `${imageSize.height}x${imageSize.width}`;
  terminal.note(
    `${name}: images of ${images.height}x${images.width}; the model was trained on ${trained} (height x width); --resize ${imageSize.width}x${imageSize.height} brings them to it`,
    'yellow',
  );
}

/** Reads the images that the text of a flag names. Shows progress, and notes what was done to the images. */
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
