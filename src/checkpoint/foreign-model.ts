// Recognises files that users pass as a model although they are no safetensors files.
import { type Format, findFormat, foreignFile } from '../data/foreign-file.js';
import { PixelCnnError } from '../errors.js';

/**
 * Formats, besides those of foreign-file.ts, that are no models. Some of them are read elsewhere in this
 * package.
 */
const formats: readonly Format[] = [
  ['\x1f\x8b', 'gzip-compressed data', 'unpack it: gunzip'],
  [/^(\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP)/, 'a picture', 'give a model first, images with --data'],
  [
    // IDX starts with two zeros, a type and a rank. A safetensors file that starts so would have a header of
    // megabytes.
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

/** Formats that are tried last, because their patterns match other files too. */
const texts: readonly Format[] = [
  [/^[\s!-~]{8,}$/, 'a text, perhaps the answer of a server', 'open it in an editor to see what it says'],
];

/**
 * Creates the error CKPT_FORMAT if `bytes` are recognised as a file of another format. `cause` is the error
 * of the safetensors reader. Returns undefined if the format is not recognised.
 */
export function foreignModel(
  bytes: Uint8Array,
  file: string | undefined,
  cause: unknown,
): PixelCnnError | undefined {
  // If the JSON starts where it must, this is a damaged safetensors file, even if the length in front looks
  // like another format.
  if (bytes[5] === 0 && bytes[6] === 0 && bytes[7] === 0 && bytes[8] === 0x7b) return undefined;
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, 64)).toString('latin1');
  const found = findFormat(formats, start) ?? foreignFile(bytes) ?? findFormat(texts, start);
  if (found === undefined) return undefined;
  const message = `${file ?? 'the model file'} is ${found.description}; models are safetensors files`;
  return new PixelCnnError('CKPT_FORMAT', message, { remedy: found.remedy, cause });
}
