// Lets the fuzzer test the decoder of PNG files, both tolerant and strict on every input.
import { crc32, deflateSync, inflateSync } from 'node:zlib';
import { decodeOrientedPng, decodePng, encodePng } from '../../dist/data/png.js';
import { NOTES } from '../../dist/data/png-header.js';
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

/** Makes a PNG file whose image data are `rows`, including filter bytes. */
function pngSeed(width, height, [depth, color, interlace], rows, before = []) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([depth, color, 0, 0, interlace], 8);
  const idat = chunkOf('IDAT', deflateSync(Uint8Array.from({ length: rows }, (_, i) => i % 5)));
  return joinPng([chunkOf('IHDR', header), ...before, idat, chunkOf('IEND', [])]);
}

const allNotes = new Set(Object.values(NOTES));
const tail = Buffer.from('bytes behind the file');

function sameImage(a, b) {
  const sameShape = a.width === b.width && a.height === b.height && a.channels === b.channels;
  return sameShape && Buffer.compare(a.data, b.data) === 0;
}

/** Makes the target. `decode` is the decoder or, in a test of the fuzzer, one with a planted defect. */
/** An EXIF block with one entry: orientation 6. */
const exif = Buffer.from('4d4d002a00000008000101120003000000010006000000000000', 'hex');

export const pngTarget = (decode = decodePng) => ({
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
    pngSeed(3, 3, [16, 6, 1], 77),
    pngSeed(2, 2, [16, 2, 0], 26, [chunkOf('tRNS', [0, 1, 0, 2, 0, 3])]),
    pngSeed(3, 2, [8, 0, 0], 12, [chunkOf('PLTE', bytesOf(9)), chunkOf('acTL', [0, 0, 0, 2, 0, 0, 0, 0])]),
    pngSeed(3, 2, [8, 0, 0], 8, [chunkOf('eXIf', exif)]),
    pngSeed(2, 2, [1, 3, 0], 4, [chunkOf('PLTE', bytesOf(48)), chunkOf('tRNS', bytesOf(20))]),
    Buffer.concat([pngSeed(2, 2, [8, 4, 0], 10, [chunkOf('tRNS', [0, 1])]), tail]),
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
            type: Buffer.from(random.pick(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND', 'tEXt', 'acTL', 'ABCD'])),
          };
          break;
        case 3:
          chunks.splice(random.below(chunks.length), 0, ...chunks.splice(at, 1));
          break;
        default:
          chunks[at] = { ...chunk, data: this.mutateData(random, chunk, other) };
      }
    }
    return this.mutateEnd(random, joinPng(chunks), other).subarray(0, this.limit);
  },
  /** Returns the file unchanged, or sometimes cut off, with bytes after it, or with a wrong checksum. */
  mutateEnd(random, file, other) {
    switch (random.below(12)) {
      case 0:
        return file.subarray(0, file.length - random.below(16));
      case 1:
        return Buffer.concat([file, other.subarray(0, random.below(64))]);
      case 2:
        return this.breakChecksum(random, file);
      default:
        return file;
    }
  },
  /** Changes the checksum of one of the first chunks. */
  breakChecksum(random, file) {
    const copy = Buffer.from(file);
    let at = 8;
    for (let skip = random.below(4); at + 12 <= copy.length; skip -= 1) {
      const end = at + 8 + copy.readUInt32BE(at);
      if (end + 4 > copy.length) break;
      if (skip === 0) copy[end] ^= 1 << random.below(8);
      at = end + 4;
    }
    return copy;
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
    const limits = { maxBytes: 2 ** 22 };
    let strict;
    const strictly = outcomeOf(
      () => decode(bytes, { ...limits, strict: true }),
      (image) => {
        strict = image;
        return 'accept';
      },
    );
    const outcome = outcomeOf(
      () => decode(bytes, limits),
      (image) => {
        const { data, width, height, channels, notes } = image;
        require(data.length === width * height * channels, 'its data do not fit its shape');
        require(data.length <= 2 ** 22, 'it is larger than the limit');
        require(notes.every((note) => allNotes.has(note)), 'its notes are not of those that there are');
        require(new Set(notes).size === notes.length, 'a note is there twice');
        const forgiven = notes.filter((note) => note !== NOTES.animation);
        require(forgiven.length > 0 ===
          (strict === undefined), `its notes are ${notes}, and strict: ${strictly}`);
        if (strict !== undefined) require(sameImage(strict, image), 'its pixels are not those of strict');
        if (!notes.includes(NOTES.noEnd)) {
          const longer = decode(Buffer.concat([bytes, tail]), limits);
          require(sameImage(longer, image), 'it is another image with bytes behind it');
          require(longer.notes.includes(NOTES.trailing), 'it does not tell of bytes behind it');
        }
        if (data.length < 4096) {
          require(sameImage(decodePng(encodePng(image), { strict: true }), image), 'it does not round trip');
        }
        const { orientation } = decodeOrientedPng(bytes, limits);
        require(orientation >= 1 && orientation <= 8, `its orientation is ${orientation}`);
        return `accept ${channels} ${notes[0] ?? ''}`;
      },
    );
    if (strict !== undefined && !outcome.startsWith('accept')) {
      throw new Error(`refused, but strict accepts it: ${outcome}`);
    }
    return outcome;
  },
});
