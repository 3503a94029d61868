// IDX files as they lie on a disk: read whole, and what is no IDX file called what it is.
import { PixelCnnError } from '../errors.js';
import { foreignKind, START_BYTES } from './file-kind.js';
import { decodeIdx, type IdxArray } from './idx.js';
import { readFileBounded } from './read-file.js';

/** @throws PixelCnnError IMAGE_FORMAT for another known format, those of decodeIdx and of reading. */
export async function readIdxFile(file: string): Promise<IdxArray> {
  return decodeIdxFile(await readFileBounded(file), file);
}

/** The same for bytes that were read already. */
export function decodeIdxFile(bytes: Uint8Array, file: string): IdxArray {
  const foreign = foreignKind(bytes.subarray(0, START_BYTES), file);
  if (foreign !== undefined) {
    throw new PixelCnnError('IMAGE_FORMAT', `${file} is ${foreign.what}`, { remedy: foreign.remedy });
  }
  return decodeIdx(bytes, { file });
}

/**
 * What a labels file may be called beside an images file: train-images-idx3-ubyte.gz has train-labels-idx1-ubyte.gz or
 * without .gz; none for names without "images".
 */
export function labelsNames(imagesName: string): readonly string[] {
  const name = imagesName.replace('images', 'labels').replace('idx3', 'idx1');
  if (name === imagesName) return [];
  const plain = name.replace(/\.gz$/, '');
  return [...new Set([name, plain, `${plain}.gz`])];
}
