// One decoded image made what was asked for: channels, size, crops, each change noted.
import {
  checkPixels,
  convertChannels,
  coveringSize,
  cropImage,
  isTransparent,
  refuseForLevels,
  resizeImage,
} from './image-conversion.js';
import type { ImageNotes } from './image-notes.js';
import type { CheckedImageSpec, Colour } from './image-spec.js';
import type { RasterImage } from './png.js';

/** `64x48 (width x height, cover)` */
export function sizeText({ resize, background }: Pick<CheckedImageSpec, 'resize' | 'background'>): string {
  if (resize === undefined) return '';
  const { width, height, fit } = resize;
  const padded = fit === 'contain' ? `, padded with ${colourText(background)}` : '';
  return `${width}x${height} (width x height, ${fit}${padded})`;
}

/** What crops of `count` images are: `cut into 3 crops of 8x8 each: 18 crops of 6 images`; nothing without crops. */
export function cropsText({ crops, resize }: CheckedImageSpec, count: number): string | undefined {
  if (crops === undefined || resize === undefined) return undefined;
  const counted = (number: number, what: string) => `${number} ${what}${number === 1 ? '' : 's'}`;
  const each = `${counted(crops, 'crop')} of ${resize.width}x${resize.height} each`;
  return `cut into ${each}: ${counted(crops * count, 'crop')} of ${counted(count, 'image')}`;
}

/** 'white', 'black' or '#rrggbb'. */
function colourText(colour: Colour): string {
  const hex = colour.map((byte) => byte.toString(16).padStart(2, '0')).join('');
  return hex === 'ffffff' ? 'white' : hex === '000000' ? 'black' : `#${hex}`;
}

/**
 * The pieces to keep of image number `index`, called `name` in errors: itself, or its crops.
 * @throws PixelCnnError ERR_MISSING_PACKAGE; ERR_LIMIT for an image that crops would enlarge too far; IMAGE_RESIZE;
 * ERR_INVALID_ARG_VALUE where `values` 'levels' forbids a change.
 */
export async function conform(
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
  // Models take 1, 3 or 4 channels: grey with alpha is shown on the background.
  const channels = spec.channels ?? (image.channels === 2 ? 1 : image.channels);
  if (channels === image.channels) return image;
  if (spec.values === 'levels') {
    refuseForLevels(
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

/** The image, enlarged where a crop does not fit into it. */
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
    refuseForLevels(`${name} is ${small}, smaller than a crop of ${crop.width}x${crop.height}`, remedy);
  }
  const enlarged = `${name} is ${small} and, enlarged to cover a crop of ${crop.width}x${crop.height}, has`;
  checkPixels(size, enlarged, 'give a smaller `resize`, the size of a crop, or leave the image out');
  notes.count('size', `smaller than a crop of ${crop.width}x${crop.height}, enlarged to cover it`);
  return resizeImage(image, name, { ...size, fit: 'fill' }, background);
}
