// What was given for a model where it is no safetensors file: called what it is, with what to do about it.
import { type Format, findFormat, foreignFile } from '../data/foreign-file.js';
import { PixelCnnError } from '../errors.js';

/** Formats that other readers here take, and texts; none of them is a model. */
const formats: readonly Format[] = [
  ['\x1f\x8b', 'gzip-compressed data', 'unpack it: gunzip'],
  [/^(\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP)/, 'a picture', 'give a model first, images with --data'],
  [
    // Two zeros, a type and a rank; a safetensors file of such a length would be one of megabytes of header.
    (start) =>
      start.startsWith('\0\0') && [8, 9, 11, 12, 13, 14].includes(start.charCodeAt(2)) && start[4] === '\0',
    'an IDX file (images or labels)',
    'give a model first, images with --data',
  ],
  [
    /^\s*[{[]\s*["{[}\]\d]/,
    'a JSON text',
    'give the safetensors file itself, not its configuration or index',
  ],
];

/** What is left when all else is ruled out. */
const texts: readonly Format[] = [
  [/^[\s!-~]{8,}$/, 'a text, perhaps the answer of a server', 'open it in an editor to see what it says'],
];

/**
 * CKPT_FORMAT for bytes that are known to be something else than safetensors, with the error of the reader as cause;
 * undefined where they are not.
 */
export function foreignModel(
  bytes: Uint8Array,
  file: string | undefined,
  cause: unknown,
): PixelCnnError | undefined {
  // A header that begins as it must is that of a damaged safetensors file, whatever its length looks like.
  if (bytes[5] === 0 && bytes[6] === 0 && bytes[7] === 0 && bytes[8] === 0x7b) return undefined;
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString('latin1');
  const found = findFormat(formats, start) ?? foreignFile(bytes) ?? findFormat(texts, start);
  if (found === undefined) return undefined;
  const message = `${file ?? 'the model file'} is ${found.what}; models are safetensors files`;
  return new PixelCnnError('CKPT_FORMAT', message, { remedy: found.remedy, cause });
}
