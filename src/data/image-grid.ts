// Draws a contact sheet: the images of a batch side by side in a single image.
import { check, checkInteger } from '../errors.js';
import { parseOptions, z } from '../options.js';
import { checkImageBatch, type ImageBatch, type RasterImage } from './image-batch.js';
import { asBytes } from './levels.js';

const optionsSchema = z.strictObject({
  /** The number of images in a row; default ceil(sqrt(count)). */
  columns: z.int().min(1).max(65_535).optional(),
  /** The number of pixels around and between the images, after scaling; default 2. */
  padding: z.int().min(0).max(65_535).default(2),
  /** Every pixel of an image becomes scale x scale pixels; default 1. */
  scale: z.int().min(1).max(65_535).default(1),
  /** The byte of every channel in the padding and in empty places; default 255 (white). 128 is mid-grey. */
  background: z.int().min(0).max(255).default(255),
  /**
   * The number of levels, required for images that hold levels. They are spread over black to white. Images
   * of bytes are not changed.
   */
  levels: z.int().min(2).max(256).optional(),
});

/**
 * Options of {@link imageGrid}.
 *
 * @interface
 */
export type ImageGridOptions = z.input<typeof optionsSchema>;

const MAXIMUM_BYTES = 2 ** 28;

/**
 * Computes the size of the grid and the places in it. Callers that still have to sample the images use it to
 * find out beforehand whether their grid would be too large.
 */
export function gridLayout(images: Omit<ImageBatch, 'data'>, options: ImageGridOptions = {}) {
  const { count } = images;
  const channels = checkInteger(images.channels, 'images.channels', 1, 4);
  const parsed = parseOptions('imageGrid', optionsSchema, options);
  const { padding: gap, scale: zoom, background, levels } = parsed;
  const columns = Math.min(count, parsed.columns ?? Math.ceil(Math.sqrt(count)));
  const rows = Math.ceil(count / columns);
  const width = columns * (images.width * zoom + gap) + gap;
  const height = rows * (images.height * zoom + gap) + gap;
  check(width * height * channels <= MAXIMUM_BYTES, 'ERR_OUT_OF_RANGE', () => {
    return `a grid of ${width}x${height}x${channels} bytes exceeds ${MAXIMUM_BYTES}: use fewer images or a smaller scale`;
  });
  return { columns, gap, zoom, background, width, height, channels, levels };
}

/**
 * Arranges the images row by row in a single image, which can be passed to {@link encodePng}. The images may
 * have up to 4 channels, and the grid may take up to 256 MiB.
 * @throws PixelCnnError ERR_INVALID_ARG_VALUE if the images hold levels and `levels` is not given,
 * ERR_OUT_OF_RANGE if the grid is too large or a level is `levels` or more.
 */
export function imageGrid(images: ImageBatch, options: ImageGridOptions = {}): RasterImage {
  checkImageBatch(images, 'images');
  const { count } = images;
  const { columns, gap, zoom, background, width, height, channels, levels } = gridLayout(images, options);
  const data = shownBytes(images, levels);
  const grid = new Uint8Array(width * height * channels).fill(background);
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

/** Returns the values of the images as bytes from black to white. */
function shownBytes({ data, values }: ImageBatch, levels: number | undefined): Uint8Array {
  if (values !== 'levels') return data;
  check(levels !== undefined, 'ERR_INVALID_ARG_VALUE', () => {
    return 'imageGrid: these images hold levels, not bytes: say how many levels there are (levels: model.config.levels)';
  });
  const beyond = data.findIndex((level) => level >= levels);
  check(beyond < 0, 'ERR_OUT_OF_RANGE', () => {
    return `imageGrid: the levels are 0 to ${levels - 1}, got ${data[beyond]} at ${beyond}`;
  });
  return asBytes(data, values, levels);
}
