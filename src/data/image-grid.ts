// A contact sheet: the images of a batch side by side in one raster image.
import { check } from '../errors.js';
import { parseOptions, z } from '../options.js';
import { checkInteger } from './check-bytes.js';
import { checkImageBatch, type ImageBatch } from './image-batch.js';
import { asBytes } from './levels.js';
import type { RasterImage } from './png.js';

const optionsSchema = z.strictObject({
  /** Images in a row; default ceil(sqrt(count)). */
  columns: z.int().min(1).max(65_535).optional(),
  /** Pixels around and between the images, after scaling; default 2. */
  padding: z.int().min(0).max(65_535).default(2),
  /** Every pixel becomes scale x scale pixels; default 1. */
  scale: z.int().min(1).max(65_535).default(1),
  /** Byte of the padding and of empty places in every channel; default 255 (white), 128 is mid-grey. */
  background: z.int().min(0).max(255).default(255),
  /** Of images that hold levels: how many there are. Levels are spread over black to white; bytes stay as they are. */
  levels: z.int().min(2).max(256).optional(),
});

/**
 * What {@link imageGrid} takes.
 *
 * @interface
 */
export type ImageGridOptions = z.input<typeof optionsSchema>;

const MAXIMUM_BYTES = 2 ** 28;

/**
 * Where images of this shape go: for telling before they are drawn that their grid would be too large.
 * @throws PixelCnnError as {@link imageGrid}, but for the bytes of the images.
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
 * Lays out the images row by row; the result goes straight to encodePng.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_BUFFER_SIZE or ERR_DETACHED for images that are malformed,
 * ERR_INVALID_ARG_VALUE for unknown options and for images of levels without `levels`, ERR_OUT_OF_RANGE for options out
 * of range, images of more than 4 channels, levels of `levels` or more, and a grid of more than 256 MiB.
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

/** The images' values as a person sees them. */
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
