// The decoder of PNG files for the fuzzer.
import { crc32, deflateSync, inflateSync } from 'node:zlib';
import { decodePng, encodePng } from '../../dist/data/png.js';
import { mutateBytes } from './mutations.mjs';
import { bytesOf, outcomeOf, require } from './outcome.mjs';

const signature = Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

function splitPng(bytes) {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = [];
  for (let at = 8; at + 12 <= file.length; ) {
    const length = file.readUInt32BE(at);
    if (at + 12 + length > file.length) break;
    chunks.push({ type: file.subarray(at + 4, at + 8), data: file.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return chunks;
}

function joinPng(chunks) {
  const parts = chunks.flatMap(({ type, data }) => {
    const body = Buffer.concat([type, data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length);
    ends.writeUInt32BE(crc32(body), 4);
    return [ends.subarray(0, 4), body, ends.subarray(4)];
  });
  return Buffer.concat([signature, ...parts]);
}

const chunkOf = (type, data) => ({ type: Buffer.from(type), data: Buffer.from(data) });

/** An image of `rows` bytes, filter bytes included. */
function pngSeed(width, height, [depth, color, interlace], rows, before = []) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([depth, color, 0, 0, interlace], 8);
  const idat = chunkOf('IDAT', deflateSync(Uint8Array.from({ length: rows }, (_, i) => i % 5)));
  return joinPng([chunkOf('IHDR', header), ...before, idat, chunkOf('IEND', [])]);
}

export const pngTarget = {
  limit: 2048,
  seeds: () => [
    ...[1, 2, 3, 4].map((channels) =>
      encodePng({ data: bytesOf(20 * channels), width: 5, height: 4, channels }),
    ),
    pngSeed(3, 2, [1, 0, 0], 4),
    pngSeed(3, 2, [2, 0, 0], 4),
    pngSeed(3, 2, [4, 0, 0], 6, [chunkOf('tRNS', [0, 3])]),
    pngSeed(2, 5, [8, 2, 0], 35, [chunkOf('tRNS', [0, 1, 0, 2, 0, 3]), chunkOf('gAMA', [0, 0, 1, 1])]),
    pngSeed(2, 2, [2, 3, 0], 4, [chunkOf('PLTE', bytesOf(12)), chunkOf('tRNS', [9])]),
    pngSeed(8, 8, [8, 0, 1], 79),
    pngSeed(5, 3, [4, 3, 1], 19, [chunkOf('PLTE', bytesOf(48))]),
    pngSeed(1, 1, [16, 0, 0], 3),
  ],
  mutate(random, bytes, other) {
    const chunks = splitPng(bytes);
    if (chunks.length === 0 || random.oneIn(6)) return mutateBytes(random, bytes, other, this.limit);
    for (let changes = 1 + random.below(2); changes > 0; changes -= 1) {
      const at = random.below(chunks.length);
      const chunk = chunks[at] ?? chunks[0];
      const others = splitPng(other);
      switch (random.below(8)) {
        case 0:
          if (chunks.length > 1) chunks.splice(at, 1);
          break;
        case 1:
          chunks.splice(at, 0, random.pick([...chunks, ...others]));
          break;
        case 2:
          chunks[at] = {
            ...chunk,
            type: Buffer.from(random.pick(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND', 'tEXt', 'ABCD'])),
          };
          break;
        case 3:
          chunks.splice(random.below(chunks.length), 0, ...chunks.splice(at, 1));
          break;
        default:
          chunks[at] = { ...chunk, data: this.mutateData(random, chunk, other) };
      }
    }
    return joinPng(chunks).subarray(0, this.limit);
  },
  mutateData(random, { type, data }, other) {
    if (type.toString() !== 'IDAT' || random.oneIn(4)) return mutateBytes(random, data, other, this.limit);
    try {
      const rows = inflateSync(data, { maxOutputLength: this.limit });
      return deflateSync(mutateBytes(random, rows, other, this.limit), { level: 1 });
    } catch {
      return mutateBytes(random, data, other, this.limit);
    }
  },
  run(bytes) {
    return outcomeOf(
      () => decodePng(bytes, { maxBytes: 2 ** 22 }),
      (image) => {
        const { data, width, height, channels } = image;
        require(data.length === width * height * channels, 'its data do not fit its shape');
        require(data.length <= 2 ** 22, 'it is larger than the limit');
        if (data.length < 4096) {
          const again = decodePng(encodePng(image));
          require(Buffer.compare(again.data, data) === 0 && again.width === width, 'it does not round trip');
        }
        return `accept ${channels}`;
      },
    );
  },
};
