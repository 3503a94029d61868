// The reader of IDX files for the fuzzer.
import { gunzipSync, gzipSync } from 'node:zlib';
import { decodeIdx, idxImages } from '../../dist/data/idx.js';
import { mutateBytes } from './mutations.mjs';
import { bytesOf, outcomeOf, product, require } from './outcome.mjs';

function idxFile(type, shape, data) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  for (const [i, size] of shape.entries()) header.writeUInt32BE(size, 4 + 4 * i);
  return Buffer.concat([header, data]);
}

const elementBytes = { uint8: 1, int8: 1, int16: 2, int32: 4, float32: 4, float64: 8 };

/** `decode` is the reader, or one in its place. */
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
      return gzipSync(mutateBytes(random, inner, other, this.limit), { level: random.pick([0, 1]) });
    } catch {
      return mutateBytes(random, bytes, other, this.limit);
    }
  },
  run(bytes) {
    return outcomeOf(
      () => decode(bytes, { maxBytes: 2 ** 22 }),
      (array) => {
        const { type, shape, data } = array;
        require(data.length === product(shape), 'its data do not fit its shape');
        require(data.BYTES_PER_ELEMENT === elementBytes[type], 'its data are of another type');
        if (type === 'uint8' && bytes[0] === 0) {
          require(idxFile(8, shape, data).equals(bytes), 'it is not what the file says');
        }
        return `accept ${type} ${shape.length} ${outcomeOf(
          () => idxImages(array),
          ({ channels }) => channels,
        )}`;
      },
    );
  },
});
