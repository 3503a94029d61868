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
