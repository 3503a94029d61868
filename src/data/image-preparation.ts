// Converts a decoded image to the channels, size and crops that the options of loadImages ask for.
import type { RasterImage } from './image-batch.js';
import {
  checkPixels,
  convertChannels,
  coveringSize,
  cropImage,
  isTransparent,
  levelsError,
  resizeImage,
} from './image-conversion.js';
import type { ImageNotes } from './image-notes.js';
import type { CheckedImageSpec, Colour } from './image-spec.js';

/** Describes the option `resize`, as in `64x48 (width x height, cover)`. */
export function sizeText({ resize, background }: Pick<CheckedImageSpec, 'resize' | 'background'>): string {
  if (resize === undefined) return '';
  const { width, height, fit } = resize;
  const padded = fit === 'contain' ? `, padded with ${colourText(background)}` : '';
  return `${width}x${height} (width x height, ${fit}${padded})`;
}

/** Describes the crops of `count` images, as in `cut into 3 crops of 8x8 each: 18 crops of 6 images`. */
export function cropsText({ crops, resize }: CheckedImageSpec, count: number): string | undefined {
  if (crops === undefined || resize === undefined) return undefined;
  const counted = (number: number, noun: string) => `${number} ${noun}${number === 1 ? '' : 's'}`;
  const each = `${counted(crops, 'crop')} of ${resize.width}x${resize.height} each`;
  return `cut into ${each}: ${counted(crops * count, 'crop')} of ${counted(count, 'image')}`;
}

/** Returns 'white', 'black' or '#rrggbb'. */
function colourText(colour: Colour): string {
  const hex = colour.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex === 'ffffff' ? 'white' : hex === '000000' ? 'black' : `#${hex}`;
}

/**
 * Converts image number `index` and returns it, or its crops if the options ask for crops. Errors call the
 * image `name`.
 */
export async function prepareImage(
  image: RasterImage,
  index: number,
  name: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): Promise<RasterImage[]> {
  const converted = withChannels(image, name, spec, notes);
  const { resize, crops, background } = spec;
  if (resize === undefined) return [converted];
  const { width, height } = converted;
  if (crops === undefined) {
    if (width !== resize.width || height !== resize.height) notes.resized(width, height);
    return [await resizeImage(converted, name, resize, background)];
  }
  const enlarged = await coverCrop(converted, name, spec, notes);
  return Array.from({ length: crops }, (_, crop) => cropImage(enlarged, resize, index, crop));
}

function withChannels(
  image: RasterImage,
  name: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): RasterImage {
  // Models take 1, 3 or 4 channels, so grey with alpha (2 channels) becomes grey.
  const channels = spec.channels ?? (image.channels === 2 ? 1 : image.channels);
  if (channels === image.channels) return image;
  if (spec.values === 'levels') {
    throw levelsError(
      `${name} has ${image.channels} channels, and \`channels\` ${channels} would`,
      'leave out `channels`, or convert the images yourself',
    );
  }
  const { background } = spec;
  if (channels !== 4 && isTransparent(image)) {
    notes.count('channels', `transparency composed on ${colourText(background)}`);
  }
  if (image.channels >= 3 && channels === 1) notes.count('channels', 'converted from RGB to grey');
  if (image.channels < 3 && channels >= 3) notes.count('channels', 'converted from grey to RGB');
  if (image.channels % 2 === 1 && channels === 4) notes.count('channels', 'given an opaque alpha channel');
  return { ...image, data: convertChannels(image.data, image.channels, channels, background), channels };
}

/** Enlarges the image if it is smaller than a crop. */
async function coverCrop(
  image: RasterImage,
  name: string,
  { resize, values, background }: CheckedImageSpec,
  notes: ImageNotes,
): Promise<RasterImage> {
  const crop = resize as NonNullable<typeof resize>;
  const size = coveringSize(image, crop);
  if (size.width === image.width && size.height === image.height) return image;
  const small = `${image.width}x${image.height}`;
  if (values === 'levels') {
    const remedy = 'give a smaller `resize`, the size of a crop, or leave small images out';
    throw levelsError(`${name} is ${small}, smaller than a crop of ${crop.width}x${crop.height}`, remedy);
  }
  const enlarged = `${name} is ${small} and, enlarged to cover a crop of ${crop.width}x${crop.height}, has`;
  checkPixels(size, enlarged, 'give a smaller `resize`, the size of a crop, or leave the image out');
  notes.count('size', `smaller than a crop of ${crop.width}x${crop.height}, enlarged to cover it`);
  return resizeImage(image, name, { ...size, fit: 'fill' }, background);
}
