// The mask of `complete`: which pixels are known, from an image file.
import type { LoadedImages } from '../data/load-images.js';
import { PixelCnnError } from '../errors.js';
import { type ImageFlags, readImages } from './image-options.js';
import type { Terminal } from './terminal.js';

/** Bytes from here on count as white, or as opaque. */
const half = 128;
/** Bytes so near to 0 or 255 are black or white that was smoothed or compressed. */
const nearly = 16;

/**
 * 1 where a pixel is known: white, or where the alpha channel is in use, which some pixel below half shows, opaque, as
 * image editors write it. Read with the size options of the images, so that it fits them. A mask that leaves nothing to
 * draw, or nothing known, is told.
 * @throws PixelCnnError IMAGE_SHAPE for another size or several images, ERR_MASK for a mask that can mean two things.
 */
export async function readMask(
  file: string,
  size: { readonly height: number; readonly width: number },
  options: ImageFlags,
  terminal: Terminal,
): Promise<Uint8Array> {
  // Crops of the images have no place in the whole mask: it has the size of a crop then.
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
  const pixels = pixelsOf(mask);
  const known = pixels.every(({ alpha }) => alpha >= half)
    ? knownByColour(pixels, file)
    : knownByAlpha(pixels, file, terminal);
  if (!known.includes(0)) terminal.note(`${file}: every pixel is known, nothing is to be drawn`, 'yellow');
  if (!known.includes(1)) terminal.note(`${file}: no pixel is known, whole images are drawn`, 'yellow');
  return known;
}

interface MaskPixel {
  /** 0 black to 255 white. */
  readonly grey: number;
  readonly alpha: number;
}

function pixelsOf({ data }: LoadedImages): MaskPixel[] {
  return Array.from({ length: data.length / 4 }, (_, i) => {
    const [red, green, blue, alpha] = data.subarray(4 * i, 4 * i + 4) as unknown as [
      number,
      number,
      number,
      number,
    ];
    return { grey: Math.round((299 * red + 587 * green + 114 * blue) / 1000), alpha };
  });
}

function knownByColour(pixels: readonly MaskPixel[], file: string): Uint8Array {
  const brightest = pixels.reduce((most, { grey }) => Math.max(most, grey), 0);
  if (brightest > 0 && brightest < half) {
    const message = `${file} has no white pixel, its brightest is ${brightest} of 255`;
    throw new PixelCnnError('ERR_MASK', message, {
      remedy: 'write 255 where a pixel is known, 0 where it is to be drawn',
    });
  }
  return Uint8Array.from(pixels, ({ grey }) => (grey >= half ? 1 : 0));
}

function knownByAlpha(pixels: readonly MaskPixel[], file: string, terminal: Terminal): Uint8Array {
  refuseContradiction(pixels, file);
  terminal.note(`${file}: its alpha channel is the mask, transparent pixels are drawn`);
  return Uint8Array.from(pixels, ({ alpha }) => (alpha >= half ? 1 : 0));
}

/** Opaque black in a mask that is black and white besides: its colour says to be drawn, its alpha says known. */
function refuseContradiction(pixels: readonly MaskPixel[], file: string): void {
  const opaque = pixels.filter(({ alpha }) => alpha >= half);
  const blackAndWhite = opaque.every(({ grey }) => grey <= nearly || grey >= 255 - nearly);
  const black = opaque.filter(({ grey }) => grey <= nearly).length;
  if (!blackAndWhite || black === 0) return;
  const message = `${file} has ${black} pixels that are black, to be drawn by colour, and opaque, known by alpha`;
  throw new PixelCnnError('ERR_MASK', message, {
    remedy: 'save the mask without an alpha channel, or let transparency alone say what is to be drawn',
  });
}
