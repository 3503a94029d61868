// Reads the mask of `pixelcnn complete`, an image that says which pixels are known.
import { luma } from '../data/image-conversion.js';
import { PixelCnnError } from '../errors.js';
import { type ImageFlags, readImages } from './image-options.js';
import type { Terminal } from './terminal.js';

/** Bytes of at least this count as white, or as opaque. */
const half = 128;
/** Bytes within this distance of 0 or 255 count as black or white that was smoothed or compressed. */
const nearly = 16;

/**
 * Returns 1 for each pixel that is known, else 0 (height, width). White pixels are known; but if the alpha
 * channel is in use (some pixel is less than half opaque), opaque pixels are, as image editors write masks.
 * The size options of the images apply to the mask as well, so that it fits them. A mask that leaves nothing
 * to draw, or nothing known, is noted.
 * @throws PixelCnnError IMAGE_SHAPE for another size or several images; ERR_MASK for a mask without white, or
 * one whose colour and alpha contradict each other.
 */
export async function readMask(
  file: string,
  size: { readonly height: number; readonly width: number },
  options: ImageFlags,
  terminal: Terminal,
): Promise<Uint8Array> {
  // Crops lie at different places of the images, so with `crops` the mask must have the size of a crop.
  const { resize, fit, pngLimits } =
    options.crops === undefined ? options : { ...options, resize: undefined, fit: undefined };
  const mask = await readImages(file, { resize, fit, pngLimits, channels: 4 }, terminal);
  const { height, width } = size;
  if (mask.count !== 1 || mask.height !== height || mask.width !== width) {
    const found = mask.count === 1 ? `is ${mask.height}x${mask.width}` : `holds ${mask.count} images`;
    throw new PixelCnnError(
      'IMAGE_SHAPE',
      `${file} ${found}, a mask is one image of ${height}x${width} (height x width)`,
    );
  }
  const { data } = mask;
  const pixels = { length: height * width };
  const grey = Uint8Array.from(pixels, (_, i) => luma(data[4 * i]!, data[4 * i + 1]!, data[4 * i + 2]!));
  const alpha = Uint8Array.from(pixels, (_, i) => data[4 * i + 3]!);
  const known = alpha.every((value) => value >= half)
    ? knownByColour(grey, file)
    : knownByAlpha(grey, alpha, file, terminal);
  if (!known.includes(0)) terminal.note(`${file}: every pixel is known, nothing is to be drawn`, 'yellow');
  if (!known.includes(1)) terminal.note(`${file}: no pixel is known, whole images are drawn`, 'yellow');
  return known;
}

/** Returns 1 for each pixel that is at least half white, else 0. `grey` goes from 0 for black to 255 for white. */
function knownByColour(grey: Uint8Array, file: string): Uint8Array {
  const brightest = grey.reduce((most, value) => Math.max(most, value), 0);
  if (brightest > 0 && brightest < half) {
    const message = `${file} has no white pixel, its brightest is ${brightest} of 255`;
    throw new PixelCnnError('ERR_MASK', message, {
      remedy: 'write 255 where a pixel is known, 0 where it is to be drawn',
    });
  }
  return grey.map((value) => (value >= half ? 1 : 0));
}

function knownByAlpha(grey: Uint8Array, alpha: Uint8Array, file: string, terminal: Terminal): Uint8Array {
  checkContradiction(grey, alpha, file);
  terminal.note(`${file}: its alpha channel is the mask, transparent pixels are drawn`);
  return alpha.map((value) => (value >= half ? 1 : 0));
}

/**
 * Refuses a mask whose opaque pixels are black and white: by its colour, an opaque black pixel is to be
 * drawn, by its alpha it is known.
 */
function checkContradiction(grey: Uint8Array, alpha: Uint8Array, file: string): void {
  const opaque = grey.filter((_, i) => alpha[i]! >= half);
  const blackAndWhite = opaque.every((value) => value <= nearly || value >= 255 - nearly);
  const black = opaque.filter((value) => value <= nearly).length;
  if (!blackAndWhite || black === 0) return;
  const message = `${file} has ${black} pixels that are black, to be drawn by colour, and opaque, known by alpha`;
  throw new PixelCnnError('ERR_MASK', message, {
    remedy: 'save the mask without an alpha channel, or let transparency alone say what is to be drawn',
  });
}
