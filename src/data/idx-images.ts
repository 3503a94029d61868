// Reads the images of an IDX file with the labels beside it, and brings those of EMNIST into the usual form.
import { basename, dirname, join } from 'node:path';
import {
  type EmnistName,
  emnistMappingName,
  emnistName,
  parseEmnistMapping,
  renumberEmnistLabels,
  transposeImages,
} from './emnist.js';
import { idxImages, idxLabels } from './idx.js';
import { decodeIdxFile, labelsFileNames, readIdxFile } from './idx-file.js';
import type { ImageBatch } from './image-batch.js';
import { firstNames, type ImageNotes } from './image-notes.js';
import type { CheckedImageSpec } from './image-spec.js';
import { listFolder, readFileBounded } from './read-file.js';

const MAXIMUM_MAPPING_BYTES = 2 ** 16;

/**
 * Returns the images of an IDX file with the labels that the spec asks for. `bytes` are the content of the
 * file. The images may share their memory, and those of EMNIST change it.
 */
export async function loadIdxImages(
  bytes: Uint8Array,
  file: string,
  { labels: wanted }: Pick<CheckedImageSpec, 'labels'>,
  notes: ImageNotes,
): Promise<ImageBatch> {
  const stored = idxImages(decodeIdxFile(bytes, file), file);
  const images = emnistName(basename(file)) === undefined ? stored : transposeImages(stored);
  if (images !== stored) notes.add('transposed, because EMNIST stores its images column by column');
  const labelsFile = typeof wanted === 'string' ? wanted : await siblingLabels(file);
  if (wanted === false || labelsFile === undefined) return images;
  const labels = idxLabels(await readIdxFile(labelsFile), images.count, { file: labelsFile });
  const emnist = emnistName(basename(labelsFile));
  if (emnist === undefined) return { ...images, labels };
  return { ...images, labels, ...(await nameEmnistClasses(labels, labelsFile, emnist, notes)) };
}

/** Finds the labels file next to an images file. */
async function siblingLabels(imagesFile: string): Promise<string | undefined> {
  const candidates = labelsFileNames(basename(imagesFile));
  if (candidates.length === 0) return undefined;
  const names = await listFolder(dirname(imagesFile));
  const found = candidates.find((candidate) => names.includes(candidate));
  return found === undefined ? undefined : join(dirname(imagesFile), found);
}

/**
 * Names the classes of EMNIST and numbers them from 0, in place, if the mapping file lies next to the labels.
 */
async function nameEmnistClasses(
  labels: Uint8Array,
  labelsFile: string,
  { set }: EmnistName,
  notes: ImageNotes,
): Promise<Pick<ImageBatch, 'classNames'>> {
  const name = emnistMappingName(set);
  const mapping = join(dirname(labelsFile), name);
  if (!(await listFolder(dirname(labelsFile))).includes(name)) {
    notes.add(`labels are those of the file, without names: ${name} is not beside it`);
    return {};
  }
  const text = Buffer.from(await readFileBounded(mapping, MAXIMUM_MAPPING_BYTES)).toString('latin1');
  const classes = parseEmnistMapping(text, mapping);
  renumberEmnistLabels(labels, classes, { labels: labelsFile, mapping });
  const classNames = classes.map(({ characters }) => characters[0] as string);
  notes.add(`classes by ${name}: ${classNames.length} (${firstNames(classNames, 10)})`);
  const [first, last] = [classes[0]?.label, classes.at(-1)?.label];
  if (last !== classes.length - 1)
    notes.add(`labels ${first} to ${last} of the file became 0 to ${classes.length - 1}`);
  const merged = classes.filter(({ characters }) => characters.length > 1);
  if (merged.length > 0) {
    const listed = merged.map(({ characters }) => characters.join(' and '));
    notes.add(`classes of more than one character, named after the first: ${firstNames(listed)}`);
  }
  return { classNames };
}
