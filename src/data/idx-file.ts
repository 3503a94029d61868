// Reads IDX files from disk and says what a file is if it is no IDX file.
import { PixelCnnError } from '../errors.js';
import { foreignKind, START_BYTES } from './file-kind.js';
import { decodeIdx, type IdxArray } from './idx.js';
import { readFileBounded } from './read-file.js';

/** Reads an IDX file, plain or compressed with gzip. */
export async function readIdxFile(file: string): Promise<IdxArray> {
  return decodeIdxFile(await readFileBounded(file), file);
}

/**
 * Decodes the bytes of an IDX file.
 * @throws PixelCnnError IMAGE_FORMAT, which names the format, if they belong to another known one.
 */
export function decodeIdxFile(bytes: Uint8Array, file: string): IdxArray {
  const foreign = foreignKind(bytes.subarray(0, START_BYTES), file);
  if (foreign !== undefined) {
    throw new PixelCnnError('IMAGE_FORMAT', `${file} is ${foreign.description}`, { remedy: foreign.remedy });
  }
  return decodeIdx(bytes, { file });
}

/**
 * Returns the names that the labels file of an images file may have, with and without .gz. For
 * train-images-idx3-ubyte.gz they are train-labels-idx1-ubyte.gz and train-labels-idx1-ubyte. A name without
 * "images" has none.
 */
export function labelsFileNames(imagesName: string): readonly string[] {
  const name = imagesName.replace('images', 'labels').replace('idx3', 'idx1');
  if (name === imagesName) return [];
  const plain = name.replace(/\.gz$/, '');
  return [...new Set([name, plain, `${plain}.gz`])];
}
