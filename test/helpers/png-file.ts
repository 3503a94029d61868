// Makes PNG files chunk by chunk, good and damaged ones.
import { crc32, deflateSync } from 'node:zlib';

export const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

/** A chunk with its checksum, or `checksum` in its place. */
export function chunk(type: string, data: Uint8Array | number[], checksum?: number): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), Uint8Array.from(data)]);
  const ends = Buffer.alloc(8);
  ends.writeUInt32BE(body.length - 4);
  ends.writeUInt32BE(checksum ?? crc32(body), 4);
  return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
}

/** IHDR of width x height; `rest` is depth, colour type, compression, filter, interlace. */
export function ihdr(width: number, height: number, ...rest: number[]): Buffer {
  const sizes = Buffer.alloc(8);
  sizes.writeUInt32BE(width);
  sizes.writeUInt32BE(height, 4);
  return chunk('IHDR', [...sizes, ...Object.assign([8, 0, 0, 0, 0], rest)]);
}

/** The image data of scanlines, filter bytes included. */
export const idat = (bytes: number[]) => chunk('IDAT', deflateSync(Uint8Array.from(bytes)));
export const IEND = chunk('IEND', []);
export const png = (...chunks: Uint8Array[]) => Buffer.concat([SIGNATURE, ...chunks]);
