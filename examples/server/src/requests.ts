// Defines the JSON bodies of requests and answers, in which each image is the base64 text of its bytes.
import type { ImageBatch, PixelCNN, SampledImages } from 'pixelcnn';
import { z } from 'zod';
import { HttpError } from './http-error.js';

export interface RequestLimits {
  /** The number of images in a request. */
  readonly maxCount: number;
  /** The height and width of an image in pixels. */
  readonly maxSide: number;
}

/** Returns the schemas of the request bodies. */
export function requestSchemas({ maxCount, maxSide }: RequestLimits) {
  const side = z.int().min(1).max(maxSide).optional();
  /** The default is the size of the images that the model was trained on. */
  const size = { height: side, width: side };
  const label = z.union([z.int(), z.string().max(100)]);
  /**
   * For a model with classes: the class of all images or a list with that of each, by number or name. 'none' is no class,
   * for a model that has learnt to go without.
   */
  const labels = z
    .union(
      [label, z.array(label).min(1).max(maxCount)],
      `expected a class, by number or name, or a list of 1 to ${maxCount} of them`,
    )
    .optional();
  const drawing = {
    labels,
    /** How strongly the class counts. Other values than 1 are for a model that has learnt to go without. */
    guidance: z.number().min(0).max(10).default(1),
    /** The same seed gives the same images. By default it is random; the answer contains it. */
    seed: z.int().min(0).optional(),
    /** The logits are divided by it. With 0 each pixel gets its most likely level. */
    temperature: z.number().min(0).max(10).default(1),
  };
  /** Each image is the base64 text of height * width * channels bytes. */
  const images = z.array(z.base64()).min(1).max(maxCount);
  return {
    sample: z.strictObject({
      /** The default is one for each of a list of labels, otherwise 1. */
      count: z.int().min(1).max(maxCount).optional(),
      ...size,
      ...drawing,
      /**
       * For event streams: the number of steps of the sampler between two events. By default there are about
       * 40 events.
       */
      stepsPerFrame: z.int().min(1).max(65536).optional(),
    }),
    complete: z.strictObject({
      images,
      /**
       * For each image, the base64 text of height * width bytes, which are not 0 where the pixel is known.
       */
      known: images,
      ...size,
      ...drawing,
    }),
    logLikelihood: z.strictObject({ images, ...size, labels }),
  };
}

type Schemas = ReturnType<typeof requestSchemas>;
export type SampleRequest = z.output<Schemas['sample']>;
export type CompleteRequest = z.output<Schemas['complete']>;
export type LogLikelihoodRequest = z.output<Schemas['logLikelihood']>;

/**
 * Decodes the images of a request. @throws HttpError 400 unless every image has the right number of bytes.
 */
export function imagesOf(request: LogLikelihoodRequest, model: PixelCNN): ImageBatch {
  const height = request.height ?? model.imageSize?.height;
  const width = request.width ?? model.imageSize?.width;
  if (height === undefined || width === undefined) {
    throw new HttpError(400, 'ERR_INVALID_REQUEST', 'this model knows no image size: send height and width');
  }
  const { channels } = model.config;
  const data = bytesOf('images', request.images, height * width * channels);
  // Visitors always draw bytes. Without `values`, the model would refuse a very dark image, which looks like
  // levels.
  return { data, count: request.images.length, height, width, channels, values: 'bytes' };
}

/**
 * Decodes which pixels are known. @throws HttpError 400 unless there is one byte for each pixel of each
 * image.
 */
export function knownOf(request: CompleteRequest, { count, height, width }: ImageBatch): Uint8Array {
  if (request.known.length !== count) {
    throw new HttpError(
      400,
      'ERR_INVALID_REQUEST',
      `known: one for each of the ${count} images is needed, got ${request.known.length}`,
    );
  }
  return bytesOf('known', request.known, height * width);
}

function bytesOf(name: string, texts: readonly string[], bytes: number): Uint8Array {
  const data = new Uint8Array(texts.length * bytes);
  texts.forEach((text, i) => {
    const decoded = Buffer.from(text, 'base64');
    if (decoded.length !== bytes) {
      throw new HttpError(
        400,
        'ERR_INVALID_REQUEST',
        `${name}[${i}]: ${bytes} bytes are needed, got ${decoded.length}`,
      );
    }
    data.set(decoded, i * bytes);
  });
  return data;
}

/** Returns the body of an answer with images. */
export function imagesAnswer({ seed, weights, count, height, width, channels, data }: SampledImages) {
  return { seed: Number(seed), weights, height, width, channels, images: base64Images(data, count) };
}

/** Encodes `count` images of equal size as base64 texts. */
export function base64Images(data: Uint8Array, count: number): string[] {
  const bytes = data.length / count;
  const { buffer, byteOffset } = data;
  return Array.from({ length: count }, (_, i) => {
    return Buffer.from(buffer, byteOffset + i * bytes, bytes).toString('base64');
  });
}
