// Lets the fuzzer test the reader of IDX files, plain and gzip, in one member or several.
import { crc32, gunzipSync, gzipSync } from 'node:zlib';
import { decodeIdx, idxImages, parseIdx } from '../../dist/data/idx.js';
import { mutateBytes } from './mutations.mjs';
import { bytesOf, outcomeOf, product, require } from './outcome.mjs';

function idxFile(type, shape, data) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  for (const [i, size] of shape.entries()) header.writeUInt32BE(size, 4 + 4 * i);
  return Buffer.concat([header, data]);
}

const elementBytes = { uint8: 1, int8: 1, int16: 2, int32: 4, float32: 4, float64: 8 };

/**
 * Compresses `bytes` into one or two gzip members, some with more in their headers or with bytes after them.
 */
function gzipFile(random, bytes, other) {
  const cut = random.oneIn(3) ? random.below(bytes.length + 1) : bytes.length;
  const parts = [bytes.subarray(0, cut), bytes.subarray(cut)].filter((part, i) => i === 0 || part.length > 0);
  const members = parts.map((part) => {
    const member = gzipSync(part, { level: random.pick([0, 1]) });
    return random.oneIn(4) ? withFields(random, member) : member;
  });
  if (random.oneIn(6)) members.push(gzipSync(''));
  if (random.oneIn(4)) members.push(random.pick([Buffer.alloc(9), other.subarray(0, random.below(32))]));
  return Buffer.concat(members);
}

/**
 * Makes a gzip member with some of the optional fields of its header. The checksum of the header is usually
 * correct.
 */
function withFields(random, member) {
  const flags = random.below(32) & 30;
  const header = Buffer.from(member.subarray(0, 10));
  header[3] = flags;
  const fields = [header];
  if (flags & 4) fields.push(Buffer.of(3, 0, 7, 0, 7));
  if (flags & 8) fields.push(Buffer.from('name\0'));
  if (flags & 16) fields.push(Buffer.from('a comment\0'));
  const sum = Buffer.alloc(flags & 2);
  if (flags & 2) sum.writeUInt16LE((crc32(Buffer.concat(fields)) & 0xffff) ^ (random.oneIn(8) ? 1 : 0));
  return Buffer.concat([...fields, sum, member.subarray(10)]);
}

/**
 * Unpacks a file with node:zlib, which also reads several members. Returns undefined if it refuses the file.
 */
function unpack(bytes) {
  try {
    return gunzipSync(bytes, { maxOutputLength: 2 ** 16 });
  } catch {
    return undefined;
  }
}

/** Makes the target. `decode` is the reader or, in a test of the fuzzer, one with a planted defect. */
export const idxTarget = (decode = decodeIdx) => ({
  limit: 2048,
  seeds() {
    const plain = [
      idxFile(8, [2, 5, 4], bytesOf(40)),
      idxFile(8, [1, 2, 2, 3], bytesOf(12)),
      idxFile(8, [6], bytesOf(6)),
      idxFile(9, [3], bytesOf(3)),
      idxFile(0x0b, [2, 2], bytesOf(8)),
      idxFile(0x0c, [2], bytesOf(8)),
      idxFile(0x0d, [2], Buffer.from(Float32Array.of(1, -2).buffer)),
      idxFile(0x0e, [1], Buffer.from(Float64Array.of(1.5).buffer)),
    ];
    return [...plain, ...plain.map((bytes) => gzipSync(bytes)), gzipSync(plain[0], { level: 0 })];
  },
  mutate(random, bytes, other) {
    if (bytes[0] !== 0x1f || random.oneIn(2)) return mutateBytes(random, bytes, other, this.limit);
    try {
      const inner = gunzipSync(bytes, { maxOutputLength: this.limit });
      const changed = random.oneIn(3) ? inner : mutateBytes(random, inner, other, this.limit);
      return gzipFile(random, changed, other).subarray(0, this.limit);
    } catch {
      return mutateBytes(random, bytes, other, this.limit);
    }
  },
  run(bytes) {
    const limits = { maxBytes: 2 ** 22 };
    const isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b;
    const plain = isGzip ? unpack(bytes) : undefined;
    const outcome = outcomeOf(
      () => decode(bytes, limits),
      (array) => {
        const { type, shape, data } = array;
        require(data.length === product(shape), 'its data do not fit its shape');
        require(data.BYTES_PER_ELEMENT === elementBytes[type], 'its data are of another type');
        if (type === 'uint8' && bytes[0] === 0) {
          require(idxFile(8, shape, data).equals(bytes), 'it is not what the file says');
        }
        if (plain !== undefined)
          require(sameArray(array, parseIdx(plain, limits)), 'node:zlib unpacks it to others');
        if (isGzip) {
          const longer = decode(Buffer.concat([bytes, Buffer.from([0, 0, 0x1f, 0x8b, 1])]), limits);
          require(sameArray(array, longer), 'it is another array with bytes behind it');
        }
        return `accept ${type} ${shape.length} ${outcomeOf(
          () => idxImages(array),
          ({ channels }) => channels,
        )}`;
      },
    );
    if (plain !== undefined && !outcome.startsWith('accept')) {
      const otherwise = outcomeOf(
        () => parseIdx(plain, limits),
        () => 'accept',
      );
      if (otherwise === 'accept') throw new Error(`refused, but node:zlib unpacks it: ${outcome}`);
    }
    return outcome;
  },
});

function sameArray(a, b) {
  return a.type === b.type && String(a.shape) === String(b.shape) && bytesIn(a.data).equals(bytesIn(b.data));
}

const bytesIn = (data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);
