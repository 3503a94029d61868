// A contact sheet: the images of a batch side by side in one raster image.
import { check } from '../errors.js';
import { checkInteger } from './byte-array.js';
import { checkImageBatch, type ImageBatch } from './image-batch.js';
import type { RasterImage } from './png.js';

export interface ImageGridOptions {
  /** Images in a row; default ceil(sqrt(count)). */
  columns?: number;
  /** Pixels around and between the images, after scaling; default 2. */
  padding?: number;
  /** Every pixel becomes scale x scale pixels; default 1. */
  scale?: number;
  /** Byte of the padding and of empty places in every channel; default 255 (white), 128 is mid-grey. */
  background?: number;
}

const MAXIMUM_BYTES = 2 ** 28;

/**
 * Where images of this shape go: for telling before they are drawn that their grid would be too large.
 * Errors: ERR_OUT_OF_RANGE, as imageGrid.
 */
export function gridLayout(images: Omit<ImageBatch, 'data'>, options: ImageGridOptions = {}) {
  const { count } = images;
  const channels = checkInteger(images.channels, 'images.channels', 1, 4);
  const { columns: wanted = Math.ceil(Math.sqrt(count)), padding = 2, scale = 1 } = options;
  const columns = Math.min(count, checkInteger(wanted, 'columns', 1, 65_535));
  const gap = checkInteger(padding, 'padding', 0, 65_535);
  const zoom = checkInteger(scale, 'scale', 1, 65_535);
  const rows = Math.ceil(count / columns);
  const width = columns * (images.width * zoom + gap) + gap;
  const height = rows * (images.height * zoom + gap) + gap;
  check(width * height * channels <= MAXIMUM_BYTES, 'ERR_OUT_OF_RANGE', () => {
    return `a grid of ${width}x${height}x${channels} bytes exceeds ${MAXIMUM_BYTES}: use fewer images or a smaller scale`;
  });
  return { columns, gap, zoom, width, height, channels };
}

/**
 * Lays out the images row by row; the result goes straight to encodePng.
 * Errors: those of checkImageBatch; ERR_OUT_OF_RANGE (options, more than 4 channels, a grid of more than 256 MiB).
 */
export function imageGrid(images: ImageBatch, options: ImageGridOptions = {}): RasterImage {
  checkImageBatch(images, 'images');
  const { data, count } = images;
  const { background = 255 } = options;
  const { columns, gap, zoom, width, height, channels } = gridLayout(images, options);
  const grid = new Uint8Array(width * height * channels).fill(checkInteger(background, 'background', 0, 255));
  for (let n = 0; n < count; ++n) {
    const left = gap + (n % columns) * (images.width * zoom + gap);
    const top = gap + Math.floor(n / columns) * (images.height * zoom + gap);
    for (let y = 0; y < images.height * zoom; ++y) {
      const from = (n * images.height + Math.floor(y / zoom)) * images.width * channels;
      const to = ((top + y) * width + left) * channels;
      for (let x = 0; x < images.width * zoom; ++x) {
        for (let c = 0; c < channels; ++c) {
          grid[to + x * channels + c] = data[from + Math.floor(x / zoom) * channels + c] as number;
        }
      }
    }
  }
  return { data: grid, width, height, channels };
}
