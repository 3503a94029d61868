// Recognises the kind of an image file by its bytes, because names are often wrong.

import { type ForeignFile, foreignFile } from './foreign-file.js';
import { gunzipStart, isGzip } from './gzip.js';
import { idxFileBytes } from './idx.js';
import { isPng } from './png.js';

/** The kinds of files that hold images. 'sharp' means all formats that the package sharp decodes. */
export type FileKind = 'png' | 'sharp' | 'idx' | 'cifar';

/** Number of bytes at the start of a file that are needed to recognise its kind. */
export const START_BYTES = 1024;
const CIFAR_RECORD = 3073;

/**
 * Recognises a file of `size` bytes by its first {@link START_BYTES} bytes, `start`. The name matters only
 * for CIFAR-10, whose files have no signature.
 */
export function fileKind(start: Uint8Array, size: number, file: string): FileKind | undefined {
  if (isPng(start)) return 'png';
  if (isSharpFormat(start)) return 'sharp';
  if (isWholeIdx(start, size)) return 'idx';
  // A CIFAR-10 batch is a .bin file of whole records that starts with a label. Its reader checks the other
  // labels.
  const records = size > 0 && size % CIFAR_RECORD === 0 && (start[0] as number) < 10;
  if (/\.bin$/i.test(file) && records) return 'cifar';
  const content = isGzip(start) ? unpackedStart(start) : start;
  // Damaged gzip counts as IDX, so that the IDX reader reports what is wrong with it.
  return content === undefined || isIdx(content) ? 'idx' : undefined;
}

/** Recognises JPEG, WebP, GIF, TIFF, AVIF and HEIF. */
function isSharpFormat(start: Uint8Array): boolean {
  const text = latin1(start.subarray(0, 12));
  return (
    text.startsWith('\xff\xd8\xff') ||
    /^GIF8[79]a/.test(text) ||
    /^RIFF[\s\S]{4}WEBP/.test(text) ||
    /^(II[*+]\0|MM\0[*+])/.test(text) ||
    /^[\s\S]{4}ftyp(avif|avis|hei[cfmsx]|hev[cx]|mif1|msf1)/.test(text)
  );
}

function isIdx(start: Uint8Array): boolean {
  const [a, b, type, rank] = start as unknown as [number, number, number, number];
  return a === 0 && b === 0 && [0x08, 0x09, 0x0b, 0x0c, 0x0d, 0x0e].includes(type) && rank >= 1 && rank <= 4;
}

/** Whether the size of the file is exactly the one that its IDX header states. */
function isWholeIdx(start: Uint8Array, size: number): boolean {
  return isIdx(start) && idxFileBytes(start) === BigInt(size);
}

function unpackedStart(start: Uint8Array): Uint8Array | undefined {
  try {
    return gunzipStart(start, START_BYTES, '');
  } catch {
    return undefined;
  }
}

/**
 * Describes a file that no reader accepts, for example as 'a zip archive', with a remedy. Returns undefined
 * if its format is not known either.
 */
export function foreignKind(start: Uint8Array, file: string): ForeignFile | undefined {
  if (start.length === 0) return { description: 'an empty file', remedy: 'download or copy it again' };
  const pickle =
    start[0] === 0x80 && /(^|[/\\])(data_batch_\d|test_batch|batches\.meta|train|test|meta)$/.test(file);
  if (pickle) {
    const remedy =
      'take the binary version (cifar-10-binary.tar.gz), and of it the folder cifar-10-batches-bin';
    return { description: 'the Python version of CIFAR (a pickle)', remedy };
  }
  if (!isGzip(start)) return foreignFile(start);
  const content = unpackedStart(start);
  if (content === undefined || isIdx(content)) return undefined;
  const tar = /\.(tar\.gz|tgz)$/i.test(file);
  const inner = foreignFile(content)?.description ?? (tar ? 'a tar archive' : 'a file that is no IDX file');
  return { description: `${inner}, gzip-compressed`, remedy: 'unpack it and give what is inside' };
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
}
