// Reads images one after another into a batch, so that only one is in memory at full size.
import { check, PixelCnnError } from '../errors.js';
import { fileKind, START_BYTES } from './file-kind.js';
import { arrayLike, type ImageBatch, type RasterImage } from './image-batch.js';
import type { ImageNotes } from './image-notes.js';
import { prepareImage } from './image-preparation.js';
import type { CheckedImageSpec } from './image-spec.js';
import { decodeFile } from './raster-file.js';
import { readFileBounded } from './read-file.js';

const MAXIMUM_BYTES = 2 ** 32 - 1;
/** The most classes that the labels of image files can tell apart. */
const MAXIMUM_CLASSES = 65_535;

/** A sequence of images that are read only when they are needed. */
export interface ImageSource {
  readonly count: number;
  nameOf(index: number): string;
  read(index: number): Promise<RasterImage>;
  readonly labels: ImageBatch['labels'];
  readonly classNames: string[] | undefined;
  /** The number of the first image in the whole data set. */
  readonly offset: number;
}

/** Throws if the option `offset` skips all of the `count` images. */
export function checkOffset(offset: number, count: number): void {
  check(offset < count, 'ERR_OUT_OF_RANGE', () => `offset ${offset}, but there are ${count} images`);
}

/** Throws if the option `labels` is a path, which only IDX images can have. */
export function checkNoLabelsFile({ labels }: CheckedImageSpec, source: string): void {
  check(typeof labels !== 'string', 'ERR_INVALID_ARG_VALUE', () => {
    return `labels must be true or false for ${source}, got '${labels}'`;
  });
}

/** Creates a source of the image files that the options `offset` and `limit` select. */
export function sourceOfFiles(
  all: {
    readonly files: readonly string[];
    readonly classes?: readonly number[] | undefined;
    readonly classNames?: string[] | undefined;
  },
  spec: CheckedImageSpec,
  notes: ImageNotes,
): ImageSource {
  const { offset, limit } = spec;
  checkNoLabelsFile(spec, 'image files, whose folders are their classes');
  checkOffset(offset, all.files.length);
  const files = all.files.slice(offset, offset + limit);
  const classes = all.classes?.slice(offset, offset + limit);
  const labelled = classes !== undefined && all.classNames !== undefined && canLabel(all.classNames, notes);
  return {
    count: files.length,
    nameOf: (index) => files[index] as string,
    async read(index) {
      const file = files[index] as string;
      const bytes = await readFileBounded(file);
      const kind = fileKind(bytes.subarray(0, START_BYTES), bytes.length, file);
      check(kind === 'png' || kind === 'sharp', 'IMAGE_FORMAT', () => `${file} is no image any more`);
      return decodeFile(bytes, kind, file, spec, notes);
    },
    labels: labelled ? labelsOf(classes, all.classNames.length) : undefined,
    classNames: labelled ? all.classNames : undefined,
    offset,
  };
}

/** Whether labels can tell the classes apart. A note says so if they cannot. */
function canLabel(classNames: readonly string[], notes: ImageNotes): boolean {
  if (classNames.length <= MAXIMUM_CLASSES) return true;
  notes.add(
    `labels are left out: ${classNames.length} classes, and labels can tell ${MAXIMUM_CLASSES} apart`,
  );
  return false;
}

/** Returns labels of the smallest type that has a number for each class. */
function labelsOf(classes: readonly number[], count: number): Uint8Array | Uint16Array {
  return count > 256 ? Uint16Array.from(classes) : Uint8Array.from(classes);
}

/** Creates a source of images that are in memory already. Errors call one `image 3 of NAME`. */
export function sourceOfBatch(images: ImageBatch, name: string, offset: number): ImageSource {
  const { count, height, width, channels } = images;
  const size = height * width * channels;
  return {
    count,
    nameOf: (index) => `image ${offset + index} of ${name}`,
    async read(index) {
      // Nothing here waits for the disk, so let the event loop run now and then: an abort must be noticed.
      if (index % 256 === 0) await new Promise(setImmediate);
      return { data: images.data.subarray(index * size, (index + 1) * size), height, width, channels };
    },
    labels: images.labels,
    classNames: images.classNames,
    offset,
  };
}

function shapeOf(image: RasterImage): string {
  return `${image.height}x${image.width}x${image.channels}`;
}

/** Reads all images into one batch. They must have the size of the first one. */
export async function collectImages(
  source: ImageSource,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): Promise<ImageBatch> {
  const { crops = 1 } = spec;
  const count = source.count * crops;
  let first: RasterImage | undefined;
  let data = new Uint8Array(0);
  for (let i = 0; i < source.count; ++i) {
    spec.signal?.throwIfAborted();
    const name = source.nameOf(i);
    const pieces = await prepareImage(await source.read(i), source.offset + i, name, spec, notes);
    for (const [piece, image] of pieces.entries()) {
      if (first === undefined) {
        first = image;
        data = allocate(count, image);
      }
      checkShape(image, name, first, source.nameOf(0));
      data.set(image.data, (i * crops + piece) * image.data.length);
    }
    spec.onEvent?.({ type: 'progress', done: i + 1, of: source.count });
  }
  const { height, width, channels } = first as RasterImage;
  const { labels, classNames } = source;
  const repeated = labels && arrayLike(labels, count).map((_, i) => labels[Math.floor(i / crops)] as number);
  return {
    data,
    count,
    height,
    width,
    channels,
    ...(repeated && { labels: repeated }),
    ...(classNames && { classNames }),
  };
}

function allocate(count: number, image: RasterImage): Uint8Array<ArrayBuffer> {
  const bytes = image.data.length * count;
  if (bytes <= MAXIMUM_BYTES) return new Uint8Array(bytes);
  const message = `${count} images of ${shapeOf(image)} take ${bytes} bytes, limit ${MAXIMUM_BYTES}`;
  throw new PixelCnnError('ERR_LIMIT', message, {
    remedy: 'read fewer (`limit`) or smaller ones (`resize`)',
  });
}

function checkShape(image: RasterImage, name: string, first: RasterImage, firstName: string): void {
  if (shapeOf(image) === shapeOf(first)) return;
  const message = `${name} is ${shapeOf(image)}, ${firstName} is ${shapeOf(first)} (height x width x channels)`;
  const options = [
    ...(image.height !== first.height || image.width !== first.width ? ['`resize`'] : []),
    ...(image.channels !== first.channels ? ['`channels`'] : []),
  ];
  throw new PixelCnnError('IMAGE_SHAPE', message, {
    remedy: `bring all images to one form with ${options.join(' and ')}`,
  });
}
