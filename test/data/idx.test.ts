// Tests the IDX and CIFAR-10 readers with valid files and with the bad-input table (reliability.md §2.3).
import { constants, crc32, deflateRawSync, gzipSync, inflateRawSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { parseCifar } from '../../src/data/cifar.js';
import { gunzipStart } from '../../src/data/gzip.js';
import { decodeIdx, idxImages, idxLabels, parseIdx } from '../../src/data/idx.js';
import { codeOf, expectTruncationsRefused, readWithFlips, withBitFlipped } from '../helpers/damage.js';

function idxFile(type: number, shape: number[], data: Uint8Array | number): Uint8Array {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  for (const [i, size] of shape.entries()) header.writeUInt32BE(size, 4 + 4 * i);
  return Buffer.concat([header, typeof data === 'number' ? Buffer.alloc(data, 9) : data]);
}

const images = idxFile(
  8,
  [2, 28, 28],
  Uint8Array.from({ length: 2 * 784 }, (_, i) => i % 251),
);

describe('parseIdx', () => {
  it('reads images', () => {
    const batch = idxImages(parseIdx(images));
    expect([batch.count, batch.height, batch.width, batch.channels]).toEqual([2, 28, 28, 1]);
    expect(batch.data[783]).toBe(783 % 251);
  });

  it('reads colour images of rank 4', () => {
    expect(idxImages(parseIdx(idxFile(8, [2, 3, 4, 3], 72))).channels).toBe(3);
  });

  it.each<[number, Uint8Array, number[]]>([
    [0x09, Uint8Array.of(0xff, 0x02), [-1, 2]],
    [0x0b, Uint8Array.of(0x01, 0x02, 0xff, 0xfe), [258, -2]],
    [0x0c, Uint8Array.of(0x80, 0, 0, 1, 0, 1, 0, 0), [-2147483647, 65536]],
    [0x0d, Uint8Array.of(0x3f, 0x80, 0, 0, 0xc0, 0x20, 0, 0), [1, -2.5]],
    [0x0e, Uint8Array.of(0x3f, 0xf8, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0), [1.5, 2]],
  ])('I14: swaps the bytes of type %i', (type, data, values) => {
    expect(Array.from(parseIdx(idxFile(type, [2], data)).data)).toEqual(values);
  });

  it.each<[string, Uint8Array, string]>([
    ['I01 empty', new Uint8Array(0), 'IDX_TRUNCATED'],
    ['I01 1 byte', new Uint8Array(1), 'IDX_TRUNCATED'],
    ['I01 3 bytes', new Uint8Array(3), 'IDX_TRUNCATED'],
    ['I02 first byte', Uint8Array.of(1, 0, 8, 1, 0, 0, 0, 1, 0), 'IDX_MAGIC'],
    ['I02 second byte', Uint8Array.of(0, 1, 8, 1, 0, 0, 0, 1, 0), 'IDX_MAGIC'],
    ['I03 type 0x00', idxFile(0x00, [1], 1), 'IDX_DTYPE'],
    ['I03 type 0x07', idxFile(0x07, [1], 1), 'IDX_DTYPE'],
    ['I03 type 0x0A', idxFile(0x0a, [1], 1), 'IDX_DTYPE'],
    ['I03 type 0x0F', idxFile(0x0f, [1], 1), 'IDX_DTYPE'],
    ['I03 type 0xFF', idxFile(0xff, [1], 1), 'IDX_DTYPE'],
    ['I04 rank 0', Uint8Array.of(0, 0, 8, 0), 'IDX_RANK'],
    ...Array.from({ length: 251 }, (_, i): [string, Uint8Array, string] => [
      `I04 rank ${i + 5}`,
      idxFile(8, Array(i + 5).fill(1), 1),
      'IDX_RANK',
    ]),
    ...[4, 5, 7, 8, 11, 12, 15].map((length): [string, Uint8Array, string] => [
      `I05 header cut after ${length} bytes`,
      images.subarray(0, length),
      'IDX_TRUNCATED',
    ]),
    ['I06 size 0', idxFile(8, [2, 0, 28], 0), 'IDX_SHAPE'],
    ['I07 overflow', idxFile(8, [0xffffffff, 0xffffffff, 0xffffffff], 0), 'IDX_OVERFLOW'],
    ['I08 65536x65536x1 in 16 bytes', idxFile(8, [65536, 65536, 1], 0), 'IDX_TRUNCATED'],
    ['I09 short', images.subarray(0, images.length - 1), 'IDX_TRUNCATED'],
    ['I09 long', Buffer.concat([images, Buffer.alloc(1)]), 'IDX_TRAILING_DATA'],
    ['I10 little-endian sizes', idxFile(8, [0x02000000, 0x1c000000, 0x1c000000], 1568), 'IDX_OVERFLOW'],
    ['I10 little-endian size', idxFile(8, [0x02000000], 2), 'IDX_TRUNCATED'],
    ['I13 NaN', idxFile(0x0d, [1], Uint8Array.of(0x7f, 0xc0, 0, 0)), 'IDX_NONFINITE'],
    ['I13 infinity', idxFile(0x0e, [1], Uint8Array.of(0x7f, 0xf0, 0, 0, 0, 0, 0, 0)), 'IDX_NONFINITE'],
    ['I15 gzip as raw', gzipSync(images), 'IDX_MAGIC'],
  ])('%s', (_, bytes, code) => {
    expect(codeOf(() => parseIdx(bytes))).toBe(code);
  });

  it('I15: hints at gzip, with the file name', () => {
    expect(() => parseIdx(gzipSync(images), { file: 'a.gz' })).toThrow(/in a\.gz.*gzip/);
  });

  it('I08: allocates nothing for what a header states', () => {
    const bytes = idxFile(8, [65536, 65536, 1], 0);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 100; ++i) expect(codeOf(() => parseIdx(bytes))).toBe('IDX_TRUNCATED');
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 24);
  });

  it('gives the right pixels or a typed error on every bit flip; a flipped pixel shows as that pixel alone', () => {
    const small = idxFile(8, [2, 3, 4], 24);
    const expected = idxImages(parseIdx(small));
    for (let bit = 0; bit < 8 * small.length; ++bit) {
      const damaged = withBitFlipped(small, bit);
      if (bit < 8 * 16) {
        expect(
          codeOf(() => idxImages(parseIdx(damaged))),
          `bit ${bit}`,
        ).toMatch(/^IDX_/);
        continue;
      }
      // IDX has no checksum, but gzip adds one.
      const { data, ...shape } = idxImages(parseIdx(damaged));
      const differing = Array.from(data.keys()).filter((i) => data[i] !== expected.data[i]);
      expect([shape, differing]).toEqual([{ ...expected, data: undefined }, [(bit >> 3) - 16]]);
    }
  });

  it('I19: refuses every truncation', () => {
    expectTruncationsRefused(images, (bytes) => parseIdx(bytes), /^IDX_TRUNCATED$/);
  });

  it('keeps to its limit', () => {
    expect(codeOf(() => parseIdx(images, { maxBytes: 1567 }))).toBe('IDX_LIMIT');
    expect(codeOf(() => parseIdx(images, { maxBytes: 1568 }))).toBe('accept');
  });
});

describe('decodeIdx', () => {
  const packed = gzipSync(images);
  const firstHalf = gzipSync(images.subarray(0, 700));
  const halves = Buffer.concat([firstHalf, gzipSync(images.subarray(700))]);
  const withChanged = (bytes: Uint8Array, at: number, mask = 1) => {
    const copy = Buffer.from(bytes);
    copy[at < 0 ? copy.length + at : at]! ^= mask;
    return copy;
  };
  /**
   * Returns `packed` with other `flags` in its header and `fields` after the header, cut off `rest` bytes
   * later.
   */
  const withHeader = (flags: number, fields: number[], rest?: number) => {
    const start = Buffer.from(packed.subarray(0, 10));
    start[3] = flags;
    const data = packed.subarray(10, rest === undefined ? undefined : 10 + rest);
    return Buffer.concat([start, Uint8Array.from(fields), data]);
  };
  const fields = [3, 0, 1, 2, 3, ...Buffer.from('name\0comment\0')];
  const headerSum = crc32(
    Buffer.concat([packed.subarray(0, 3), Buffer.of(30), packed.subarray(4, 10), Buffer.from(fields)]),
  );

  it.each<[string, Uint8Array]>([
    ['two members', halves],
    ['a member for each byte', Buffer.concat(Array.from(images, (byte) => gzipSync(Uint8Array.of(byte))))],
    [
      'empty members',
      Buffer.concat([gzipSync(''), firstHalf, gzipSync(''), gzipSync(images.subarray(700)), gzipSync('')]),
    ],
    ['zeros behind it', Buffer.concat([packed, Buffer.alloc(1000)])],
    ['one zero', Buffer.concat([packed, Buffer.alloc(1)])],
    ['garbage behind it', Buffer.concat([packed, Buffer.from('garbage')])],
    ['zeros and another member, which is garbage', Buffer.concat([packed, Buffer.alloc(3), gzipSync('x')])],
    ['garbage behind two members', Buffer.concat([halves, Buffer.alloc(300, 0x1f)])],
    ['no checksum of the header', withHeader(28, fields)],
    ['a checksum of the header', withHeader(30, [...fields, headerSum & 255, (headerSum >> 8) & 255])],
    ['a comment', withHeader(16, [...Buffer.from('made by\0')])],
    ['an extra field of 60,000 bytes', withHeader(4, [0x60, 0xea, ...Buffer.alloc(60_000, 7)])],
    ['stored blocks', gzipSync(images, { level: 0 })],
  ])('I17: reads what gzip -d unpacks: %s', (_, bytes) => {
    const array = decodeIdx(bytes);
    expect(array.shape).toEqual([2, 28, 28]);
    expect(Buffer.compare(array.data as Uint8Array, images.subarray(16))).toBe(0);
  });

  it('I16: keeps to the stated size over all members, and to a number of them', () => {
    expect(codeOf(() => decodeIdx(Buffer.concat([halves, gzipSync('x')])))).toBe('IDX_LIMIT');
    expect(codeOf(() => decodeIdx(Buffer.concat([firstHalf, gzipSync(Buffer.alloc(2 ** 26))])))).toBe(
      'IDX_LIMIT',
    );
    expect(codeOf(() => decodeIdx(firstHalf))).toBe('IDX_TRUNCATED');
    const empty = gzipSync('');
    const many = Buffer.alloc(70_000 * empty.length, empty);
    expect(codeOf(() => decodeIdx(Buffer.concat([packed, many])))).toBe('IDX_LIMIT');
    expect(codeOf(() => decodeIdx(Buffer.concat([many, packed])))).toBe('IDX_LIMIT');
    expect(codeOf(() => decodeIdx(Buffer.concat([packed, many.subarray(0, 1000 * empty.length)])))).toBe(
      'accept',
    );
  });

  it('I16: unpacks little of a bomb behind data that unpack to nothing', () => {
    // Empty stored blocks of 5 bytes, which fill the first prefixes that are tried, and then 256 MiB of
    // zeros.
    const nothing = Buffer.alloc(5 * 20_000, Uint8Array.of(0, 0, 0, 0xff, 0xff));
    const block = deflateRawSync(Buffer.alloc(2 ** 20), { finishFlush: constants.Z_FULL_FLUSH });
    const bomb = Buffer.concat([packed.subarray(0, 10), nothing, ...Array<Buffer>(256).fill(block)]);
    const before = process.memoryUsage().rss;
    expect(Buffer.compare(gunzipStart(bomb, 20, ''), Buffer.alloc(20))).toBe(0);
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 26);
    const images = Buffer.concat([idxFile(8, [2, 5, 4], 40)]);
    const late = Buffer.concat([packed.subarray(0, 10), nothing, deflateRawSync(images)]);
    expect(Buffer.compare(gunzipStart(late, 20, ''), images.subarray(0, 20))).toBe(0);
  });

  it('reads plain and gzip files alike, also with a name in the gzip header', () => {
    expect(Array.from(decodeIdx(packed).data)).toEqual(Array.from(parseIdx(images).data));
    const named = Buffer.concat([packed.subarray(0, 3), Buffer.from([8]), packed.subarray(4, 10)]);
    const withName = Buffer.concat([named, Buffer.from('train-images\0'), packed.subarray(10)]);
    expect(decodeIdx(withName).shape).toEqual([2, 28, 28]);
    expect(decodeIdx(images).shape).toEqual([2, 28, 28]);
    const labels = decodeIdx(gzipSync(idxFile(8, [3], Uint8Array.of(1, 2, 3))));
    expect(Array.from(labels.data)).toEqual([1, 2, 3]);
  });

  it('I16: stops unpacking 10 GB at the stated size', () => {
    // One deflate block of 1 MiB is repeated: 10 MB that unpack to 10 GB.
    const zeros = Buffer.alloc(2 ** 20);
    const block = deflateRawSync(zeros, { finishFlush: constants.Z_FULL_FLUSH });
    const header = deflateRawSync(images, { finishFlush: constants.Z_FULL_FLUSH });
    const gzipHeader = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    const bomb = Buffer.concat([
      gzipHeader,
      header,
      ...Array.from({ length: 10_240 }, () => block),
      Buffer.alloc(8),
    ]);
    const before = process.memoryUsage().rss;
    expect(codeOf(() => decodeIdx(bomb))).toBe('IDX_LIMIT');
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 26);
  });

  it('I16: stops unpacking at the stated size, and refuses an honest size above the limit', () => {
    const bomb = gzipSync(Buffer.concat([images, Buffer.alloc(2 ** 26)]));
    expect(codeOf(() => decodeIdx(bomb))).toBe('IDX_LIMIT');
    const honestBomb = gzipSync(idxFile(8, [2 ** 20, 64, 64], 1000));
    expect(codeOf(() => decodeIdx(honestBomb))).toBe('IDX_LIMIT');
    expect(codeOf(() => decodeIdx(packed, { maxBytes: 1567 }))).toBe('IDX_LIMIT');
  });

  it.each<[string, Uint8Array]>([
    ['bad checksum', Buffer.concat([packed.subarray(0, -8), Buffer.alloc(4, 1), packed.subarray(-4)])],
    ['bad size', Buffer.concat([packed.subarray(0, -4), Buffer.alloc(4, 1)])],
    ['a second member with a bad checksum', withChanged(halves, -8)],
    ['a first member with a bad checksum', withChanged(halves, firstHalf.length - 8)],
    ['a second member with a bad size', withChanged(halves, -4)],
    ['a second member of another method', withChanged(halves, firstHalf.length + 2)],
    ['a second member with a reserved flag', withChanged(halves, firstHalf.length + 3, 0x80)],
    ['a second member cut off', halves.subarray(0, -9)],
    ['the header of another member and no more', Buffer.concat([packed, packed.subarray(0, 10)])],
    ['a wrong checksum of the header', withHeader(2, [0x12, 0x34])],
    ['a name without an end', withHeader(8, [65, 66], 2)],
    ['trailer cut', packed.subarray(0, -1)],
    ['damaged blocks', Buffer.concat([packed.subarray(0, 10), Buffer.alloc(40, 0xff)])],
  ])('I17: %s', (_, bytes) => expect(codeOf(() => decodeIdx(bytes))).toBe('IDX_GZIP'));

  it('gives a typed error on fewer data than stated, and on every truncation', () => {
    expect(codeOf(() => decodeIdx(gzipSync(images.subarray(0, -1))))).toBe('IDX_TRUNCATED');
    expectTruncationsRefused(packed, (bytes) => decodeIdx(bytes), /^IDX_/);
    expectTruncationsRefused(halves, (bytes) => decodeIdx(bytes), /^IDX_/);
  });

  it('gives the same array or a typed error on every bit flip', () => {
    const small = gzipSync(
      idxFile(
        8,
        [1, 4, 4],
        Uint8Array.from({ length: 16 }, (_, i) => i * 3),
      ),
    );
    expect(readWithFlips(small, (bytes) => decodeIdx(bytes), /^IDX_/).wrong).toEqual([]);
  });

  it('would notice a reader that does not verify the checksum', () => {
    const small = gzipSync(idxFile(8, [1, 4, 4], 16), { level: 0 });
    const careless = (bytes: Uint8Array) => inflateRawSync(bytes.subarray(10)).subarray(16);
    // The stored pixels are followed by the checksum and the size, 4 bytes each.
    const pixels = Array.from({ length: 8 * 16 }, (_, i) => 8 * (small.length - 24) + i);
    const wrong = pixels.filter((bit) => !careless(withBitFlipped(small, bit)).equals(careless(small)));
    expect(wrong).toEqual(pixels);
  });

  it('is not fooled by raw deflate data', () => {
    expect(codeOf(() => decodeIdx(deflateRawSync(images)))).toMatch(/^IDX_/);
  });
});

describe('idxImages and idxLabels', () => {
  it('refuses other types and ranks', () => {
    expect(codeOf(() => idxImages(parseIdx(idxFile(0x0d, [1, 1, 1], 4))))).toBe('IDX_DTYPE');
    expect(codeOf(() => idxImages(parseIdx(idxFile(8, [4, 4], 16))))).toBe('IDX_RANK');
    expect(codeOf(() => idxLabels(parseIdx(idxFile(8, [2, 1], 2)), 2))).toBe('IDX_RANK');
    expect(codeOf(() => idxLabels(parseIdx(idxFile(9, [2], 2)), 2))).toBe('IDX_DTYPE');
  });

  it('I11, I12: checks number and range of labels', () => {
    const labels = parseIdx(idxFile(8, [3], Uint8Array.of(0, 9, 10)));
    expect(codeOf(() => idxLabels(labels, 4))).toBe('IDX_COUNT_MISMATCH');
    expect(codeOf(() => idxLabels(labels, 3, { classes: 10 }))).toBe('IDX_LABEL_RANGE');
    expect(Array.from(idxLabels(labels, 3, { classes: 11 }))).toEqual([0, 9, 10]);
    expect(() => idxLabels(labels, 3, { classes: 10, file: 'labels' })).toThrow(/label 2 is 10.*in labels/);
  });
});

describe('parseCifar', () => {
  const record = (label: number) =>
    Uint8Array.from(
      { length: 3073 },
      (_, i) => (i === 0 ? label : (i - 1) >> 10) + (i > 0 ? (i - 1) % 50 : 0),
    );

  it('turns planes into pixels', () => {
    const batch = parseCifar(Buffer.concat([record(3), record(9)]));
    expect([batch.count, batch.height, batch.width, batch.channels]).toEqual([2, 32, 32, 3]);
    expect(Array.from(batch.labels ?? [])).toEqual([3, 9]);
    expect(Array.from(batch.data.subarray(0, 6))).toEqual([
      0,
      (1024 % 50) + 1,
      (2048 % 50) + 2,
      1,
      (1025 % 50) + 1,
      (2049 % 50) + 2,
    ]);
  });

  it.each<[string, Uint8Array, string]>([
    ['empty', new Uint8Array(0), 'CIFAR_TRUNCATED'],
    ['short', record(1).subarray(1), 'CIFAR_TRUNCATED'],
    ['long', Buffer.concat([record(1), Buffer.alloc(1)]), 'CIFAR_TRUNCATED'],
    ['label 10', record(10), 'CIFAR_LABEL_RANGE'],
  ])('refuses %s', (_, bytes, code) => expect(codeOf(() => parseCifar(bytes))).toBe(code));
});
