// Images that a caller gives to a model: every field is read once, then checked against the model.
import { plainBytes } from '../data/byte-array.js';
import { checkImageBatch, type ImageBatch } from '../data/image-batch.js';
import { check, PixelCnnError } from '../errors.js';
import type { PixelCnnConfig } from './config.js';

/**
 * The images with plain fields over the caller's bytes, which are not copied.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE, ERR_BUFFER_SIZE,
 * ERR_DETACHED, ERR_IMAGE_CHANNELS; `name` says which argument, e.g. `logits: images`.
 */
export function requireImages(name: string, images: unknown, config: PixelCnnConfig): ImageBatch {
  const read = readOnce(name, images);
  checkImageBatch(read, name);
  check(read.channels === config.channels, 'ERR_IMAGE_CHANNELS', () => {
    return `${name}: the model has ${config.channels} channels, the images have ${read.channels}`;
  });
  return read;
}

/** The same over a copy of the bytes, which the caller cannot change. */
export function copyImages(images: ImageBatch): ImageBatch {
  return { ...images, data: plainBytes(images.data).slice() };
}

/** A getter may throw, or answer otherwise the next time. */
function readOnce(name: string, images: unknown): unknown {
  if (typeof images !== 'object' || images === null) return images;
  try {
    const { data, count, height, width, channels, labels, values } = images as Partial<ImageBatch>;
    return {
      data,
      count,
      height,
      width,
      channels,
      ...(labels !== undefined && { labels }),
      ...(values !== undefined && { values }),
    };
  } catch (cause) {
    const message = `${name}: reading the images threw ${String(cause)}`;
    throw new PixelCnnError('ERR_INVALID_ARG_VALUE', message, { cause });
  }
}
