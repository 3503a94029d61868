// Checks images that a caller passes to a model: their fields, channels and values.
import { plainBytes } from '../data/check-array.js';
import { checkImageBatch, type ImageBatch, type ImageValues } from '../data/image-batch.js';
import { levelOfByte } from '../data/levels.js';
import { check, PixelCnnError } from '../errors.js';
import type { PixelCnnConfig } from './config.js';

/** The part of a model that images are checked against. */
interface ImageModel {
  readonly config: PixelCnnConfig;
  /** What the numbers of the training images were. Undefined if that is not known. */
  readonly values: ImageValues | undefined;
}

/**
 * Returns the images if the model can take them, and throws otherwise. Each field of the caller's object is
 * read only once, but the pixels are not copied. `name` begins the message, e.g. `logits: images`.
 * @throws PixelCnnError ERR_IMAGE_CHANNELS, or ERR_IMAGE_VALUES if the images hold bytes and the model needs
 * levels or the other way round.
 */
export function checkImages(name: string, images: unknown, model: ImageModel): ImageBatch {
  const read = readOnce(name, images);
  checkImageBatch(read, name);
  const { channels } = model.config;
  check(read.channels === channels, 'ERR_IMAGE_CHANNELS', () => {
    return `${name}: the model has ${channels} channels, the images have ${read.channels}`;
  });
  checkValues(name, read, model);
  return read;
}

/** Copies the pixels, so that the caller cannot change them during an asynchronous call. */
export function copyImages(images: ImageBatch): ImageBatch {
  return { ...images, data: plainBytes(images.data).slice() };
}

/**
 * Throws if the numbers of the images are not what the model takes. It also throws if `values` is not given
 * and the numbers look like levels: read as bytes they would all be level 0 or nearly so, which gives a high
 * and meaningless likelihood.
 */
function checkValues(name: string, images: ImageBatch, model: ImageModel): void {
  const { levels } = model.config;
  const given = images.values ?? 'bytes';
  if (model.values !== undefined && model.values !== given) {
    const theirs =
      images.values === undefined ? 'do not say what they hold, so count as bytes' : `hold ${given}`;
    throw new PixelCnnError(
      'ERR_IMAGE_VALUES',
      `${name}: the model was trained on ${model.values}, the images ${theirs}`,
      {
        remedy: `give images that hold ${model.values}, and say so with \`values\``,
      },
    );
  }
  if (images.values === 'bytes' || (images.values === undefined && levels === 256)) return;
  const beyond = images.data.findIndex((value) => value >= levels);
  if (images.values === 'levels') {
    if (beyond >= 0) {
      const size = images.height * images.width * images.channels;
      const largest = largestOf(images.data);
      throw new PixelCnnError(
        'ERR_OUT_OF_RANGE',
        `${name}: the levels of this model are 0 to ${levels - 1}, image ${Math.floor(beyond / size)} has ${images.data[beyond]}`,
        {
          remedy: `levels up to ${largest} need a model of ${largest + 1} \`levels\`; bytes are no \`values\` 'levels'`,
        },
      );
    }
  } else if (beyond < 0 && images.data.some((value) => value > 0)) {
    const largest = largestOf(images.data);
    const level = levelOfByte(largest, levels);
    const seen = level === 0 ? 'level 0' : `of levels 0 to ${level}`;
    throw new PixelCnnError(
      'ERR_IMAGE_VALUES',
      `${name}: the largest value is ${largest}, below the ${levels} levels of the model: as bytes, every pixel would be ${seen}`,
      { remedy: 'say with `values` what they are: levels for levels, bytes for very dark images' },
    );
  }
}

function largestOf(data: Uint8Array): number {
  return data.reduce((most, value) => Math.max(most, value), 0);
}

/** Reads each field once, because a getter of the caller may throw or give another value the next time. */
function readOnce(name: string, images: unknown): unknown {
  if (typeof images !== 'object' || images === null) return images;
  try {
    const { data, count, height, width, channels, values, ...rest } = images as Partial<ImageBatch>;
    const { labels, classNames, features, map } = rest;
    return {
      data,
      count,
      height,
      width,
      channels,
      ...(labels !== undefined && { labels }),
      ...(classNames !== undefined && { classNames }),
      ...(features !== undefined && { features }),
      ...(map !== undefined && { map }),
      ...(values !== undefined && { values }),
    };
  } catch (cause) {
    const message = `${name}: reading the images threw ${String(cause)}`;
    throw new PixelCnnError('ERR_INVALID_ARG_VALUE', message, { cause });
  }
}
