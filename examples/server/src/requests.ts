// The bodies of requests and answers: JSON, with each image as the base64 of its bytes.
import type { ImageBatch, PixelCNN, SampledImages } from 'pixelcnn';
import { z } from 'zod';
import { HttpError } from './http-error.js';

export interface RequestLimits {
  /** Images per request. */
  readonly maxCount: number;
  /** Height and width of an image. */
  readonly maxSide: number;
}

/** Schemas of the request bodies. */
export function requestSchemas({ maxCount, maxSide }: RequestLimits) {
  const side = z.int().min(1).max(maxSide).optional();
  /** Default: the size of the images the model was trained on. */
  const size = { height: side, width: side };
  const drawing = {
    /** Same seed, same images. Random when omitted; the answer tells which. */
    seed: z.int().min(0).optional(),
    /** Divides the logits; 0 takes the most likely level. */
    temperature: z.number().min(0).max(10).default(1),
  };
  /** Base64 of height * width * channels bytes each. */
  const images = z.array(z.base64()).min(1).max(maxCount);
  return {
    sample: z.strictObject({
      count: z.int().min(1).max(maxCount).default(1),
      ...size,
      ...drawing,
      /** For event streams: an event after this many steps of the sampler. Default: about 40 events. */
      stepsPerFrame: z.int().min(1).max(65536).optional(),
    }),
    complete: z.strictObject({
      images,
      /** For each image base64 of height * width bytes, non-zero where the pixel is known. */
      known: images,
      ...size,
      ...drawing,
    }),
    logLikelihood: z.strictObject({ images, ...size }),
  };
}

type Schemas = ReturnType<typeof requestSchemas>;
export type SampleRequest = z.output<Schemas['sample']>;
export type CompleteRequest = z.output<Schemas['complete']>;
export type LogLikelihoodRequest = z.output<Schemas['logLikelihood']>;

/** The images of a request for this model. @throws HttpError 400 unless every image has the right number of bytes. */
export function imagesOf(request: LogLikelihoodRequest, model: PixelCNN): ImageBatch {
  const height = request.height ?? model.imageSize?.height;
  const width = request.width ?? model.imageSize?.width;
  if (height === undefined || width === undefined) {
    throw new HttpError(400, 'ERR_INVALID_REQUEST', 'this model knows no image size: send height and width');
  }
  const { channels } = model.config;
  const data = bytesOf('images', request.images, height * width * channels);
  // What a visitor draws are bytes, however dark; without this, an image that looks like levels would be refused.
  return { data, count: request.images.length, height, width, channels, values: 'bytes' };
}

/** Which pixels of the images are known. @throws HttpError 400 unless there is one byte per pixel of each image. */
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

/** The answer that holds images. */
export function imagesAnswer({ seed, weights, count, height, width, channels, data }: SampledImages) {
  return { seed: Number(seed), weights, height, width, channels, images: base64Images(data, count) };
}

/** `count` images of equal size as base64. */
export function base64Images(data: Uint8Array, count: number): string[] {
  const bytes = data.length / count;
  const { buffer, byteOffset } = data;
  return Array.from({ length: count }, (_, i) => {
    return Buffer.from(buffer, byteOffset + i * bytes, bytes).toString('base64');
  });
}
