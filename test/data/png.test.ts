// Tests the PNG encoder and decoder, also with the bad-input table (reliability.md §2.4).
//
// The files that only the tolerant decoder reads are in png-tolerance.test.ts.
import { crc32, deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decodePng, encodePng, type PngLimits } from '../../src/data/png.js';
import { NOTES, pngKind, pngLimits } from '../../src/data/png-header.js';
import { PixelCnnError } from '../../src/errors.js';
import { philox } from '../../src/random/philox.js';
import { codeOf, expectTruncationsRefused, readWithFlips } from '../helpers/damage.js';
import { chunk, IEND, idat, ihdr, png, SIGNATURE } from '../helpers/png-file.js';

function errorOf(run: () => unknown): PixelCnnError {
  try {
    run();
  } catch (error) {
    if (error instanceof PixelCnnError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

function noise(length: number, seed: number): Uint8Array {
  const data = new Uint8Array(length);
  for (let i = 0; i < length; ++i) data[i] = (philox([i, 0, 0, 0], [seed, 0])[0] as number) & 255;
  return data;
}

/** Filters `pixels` (5, 3, 3) of colour type 2, each of the five rows with another filter. */
function filteredRows(pixels: Uint8Array): number[] {
  const at = (y: number, x: number) => (y < 0 || x < 0 ? 0 : (pixels[9 * y + x] as number));
  const predict = (filter: number, y: number, x: number): number => {
    const [left, up, corner] = [at(y, x - 3), at(y - 1, x), x < 3 ? 0 : at(y - 1, x - 3)];
    const estimate = left + up - corner;
    const nearest = [left, up, corner].reduce((best, value) =>
      Math.abs(estimate - value) < Math.abs(estimate - best) ? value : best,
    );
    return [0, left, up, (left + up) >> 1, nearest][filter] as number;
  };
  const bytes: number[] = [];
  for (let y = 0; y < 5; ++y) {
    bytes.push(y);
    for (let x = 0; x < 9; ++x) bytes.push((at(y, x) - predict(y, y, x)) & 255);
  }
  return bytes;
}

describe('round trips', () => {
  it.each([1, 2, 3, 4])('%i channels', (channels) => {
    for (const [width, height] of [
      [1, 1],
      [28, 28],
      [7, 13],
      [65, 2],
    ] as const) {
      const image = { data: noise(width * height * channels, channels), width, height, channels };
      const { notes, ...decoded } = decodePng(encodePng(image));
      expect(notes).toEqual([]);
      expect({ ...decoded, data: Array.from(decoded.data) }).toEqual({
        ...image,
        data: Array.from(image.data),
      });
    }
  });

  it('is deterministic', () => {
    const image = { data: noise(784, 1), width: 28, height: 28, channels: 1 };
    expect(encodePng(image)).toEqual(encodePng(image));
  });

  it.each<[object, string]>([
    [{ data: [1] }, 'ERR_INVALID_ARG_TYPE'],
    [{ data: new Uint8Array(3) }, 'ERR_BUFFER_SIZE'],
    [{ channels: 5 }, 'ERR_OUT_OF_RANGE'],
    [{ width: 0 }, 'ERR_OUT_OF_RANGE'],
  ])('refuses %o', (change, code) => {
    const image = { data: new Uint8Array(4), width: 2, height: 2, channels: 1 };
    expect(codeOf(() => encodePng({ ...image, ...change }))).toBe(code);
  });
});

describe('decoding', () => {
  it('undoes all five filters', () => {
    const pixels = noise(45, 5);
    const decoded = decodePng(png(ihdr(3, 5, 8, 2), idat(filteredRows(pixels)), IEND));
    expect(Array.from(decoded.data)).toEqual(Array.from(pixels));
  });

  it.each([
    [1, [0, 0b10100000], [255, 0, 255]],
    [2, [0, 0b00011000], [0, 85, 170]],
    [4, [0, 0x0f, 0x80], [0, 255, 136]],
  ])('scales %i-bit grey', (depth, row, expected) => {
    const decoded = decodePng(png(ihdr(3, 1, depth, 0), idat(row), IEND));
    expect(Array.from(decoded.data)).toEqual(expected);
  });

  it('looks up a palette, with and without transparency', () => {
    const plte = chunk('PLTE', [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const rows = idat([0, 0b10010000]);
    const opaque = decodePng(png(ihdr(2, 1, 2, 3), plte, rows, IEND));
    expect([opaque.channels, ...opaque.data]).toEqual([3, 7, 8, 9, 4, 5, 6]);
    const clear = decodePng(png(ihdr(2, 1, 2, 3), plte, chunk('tRNS', [0, 40]), rows, IEND));
    expect([clear.channels, ...clear.data]).toEqual([4, 7, 8, 9, 255, 4, 5, 6, 40]);
  });

  it('turns a transparent colour into alpha', () => {
    const grey = decodePng(png(ihdr(2, 1, 4, 0), chunk('tRNS', [0, 3]), idat([0, 0x34]), IEND));
    expect([grey.channels, ...grey.data]).toEqual([2, 51, 0, 68, 255]);
    const rows = idat([0, 1, 2, 3, 1, 2, 4]);
    const rgb = decodePng(png(ihdr(2, 1, 8, 2), chunk('tRNS', [0, 1, 0, 2, 0, 3]), rows, IEND));
    expect([rgb.channels, ...rgb.data]).toEqual([4, 1, 2, 3, 0, 1, 2, 4, 255]);
  });

  it('P30: reads Adam7 at every size from 1 to 9', () => {
    const order = [
      '16462646',
      '77777777',
      '56565656',
      '77777777',
      '36463646',
      '77777777',
      '56565656',
      '77777777',
    ];
    for (let width = 1; width <= 9; ++width) {
      for (let height = 1; height <= 9; ++height) {
        const pixels = noise(width * height, width * 10 + height);
        const rows: number[] = [];
        for (let pass = 1; pass <= 7; ++pass) {
          for (let y = 0; y < height; ++y) {
            const row: number[] = [];
            for (let x = 0; x < width; ++x) {
              if (order[y % 8]?.[x % 8] === String(pass)) row.push(pixels[y * width + x] as number);
            }
            if (row.length > 0) rows.push(0, ...row);
          }
        }
        const decoded = decodePng(png(ihdr(width, height, 8, 0, 0, 0, 1), idat(rows), IEND));
        expect(Array.from(decoded.data), `${width}x${height}`).toEqual(Array.from(pixels));
      }
    }
  });

  it('P28, P32: skips ancillary chunks without unpacking them, APNG too', () => {
    const bomb = chunk('iCCP', [97, 0, 0, ...deflateSync(Buffer.alloc(2 ** 20))]);
    const control = chunk('acTL', [0, 0, 0, 1, 0, 0, 0, 0]);
    const decoded = decodePng(png(ihdr(1, 1), bomb, control, idat([0, 77]), chunk('tEXt', []), IEND));
    expect(Array.from(decoded.data)).toEqual([77]);
  });

  it('joins several IDAT chunks, empty ones too', () => {
    const data = deflateSync(Uint8Array.of(0, 5, 6));
    const parts = [data.subarray(0, 3), data.subarray(3, 3), data.subarray(3)].map((part) =>
      chunk('IDAT', part),
    );
    expect(Array.from(decodePng(png(ihdr(2, 1), ...parts, IEND)).data)).toEqual([5, 6]);
  });
});

/** The numbers of rows and columns in each Adam7 pass of an 8x8 image. */
const ADAM7_ROWS = [
  [1, 1],
  [1, 1],
  [1, 2],
  [2, 2],
  [2, 4],
  [4, 4],
  [4, 8],
] as const;
const ROWS = idat([0, 1, 2]);
const PLTE = chunk('PLTE', [1, 2, 3]);
const good = png(ihdr(2, 1), ROWS, IEND);
const zlib = deflateSync(Uint8Array.of(0, 1, 2));
const changed = (bytes: Uint8Array, at: number, value: number) =>
  Object.assign(Uint8Array.from(bytes), { [at]: value });

type Case = [string, Uint8Array, string];
/** P01–P04: each byte of the signature is damaged in turn. */
const SIGNATURE_CASES = Array.from(
  SIGNATURE,
  (byte, i): Case => [`P01–P04 signature byte ${i}`, changed(good, i, byte ^ 1), 'PNG_SIGNATURE'],
);
/** P18: every pair of a colour type and a depth that the standard does not allow together. */
const PAIRS = [
  [2, 1, 2, 4],
  [3, 16],
  [4, 1, 2, 4],
  [6, 1, 2, 4],
].flatMap(([colorType, ...depths]) =>
  depths.map((depth): Case => {
    return [
      `P18 type ${colorType} of ${depth} bits`,
      png(ihdr(2, 1, depth, colorType!), ROWS, IEND),
      'PNG_BIT_DEPTH',
    ];
  }),
);
/** P26: every invalid filter in the second row, and in the first row of every Adam7 pass of an 8x8 image. */
const FILTERS: Case[] = [
  ...Array.from({ length: 251 }, (_, i): Case => {
    return [`P26 filter ${i + 5}`, png(ihdr(2, 2), idat([0, 1, 2, i + 5, 3, 4]), IEND), 'PNG_FILTER'];
  }),
  ...ADAM7_ROWS.map((_, pass): Case => {
    const rows = ADAM7_ROWS.flatMap(([count, width], p) =>
      Array.from({ length: count }, (_, row) => [
        p === pass && row === 0 ? 5 : 0,
        ...Array<number>(width).fill(1),
      ]),
    );
    return [
      `P26 filter 5 in pass ${pass + 1}`,
      png(ihdr(8, 8, 8, 0, 0, 0, 1), idat(rows.flat()), IEND),
      'PNG_FILTER',
    ];
  }),
];
/**
 * A zlib stream whose first symbol copies 3 bytes from before the start (in the fixed code: length 3,
 * distance 1).
 */
const FAR_BACK = [0x78, 0x01, 0x03, 0x02, 0x00, 0x00, 0x00, 0x00, 0x01];

/** The cases that the tolerant decoder reads, with the pixels that png-tolerance.test.ts expects. */
const READ = new Set([
  'P20 more entries than the depth can name',
  'P20 index past the end',
  'P20 grey with palette',
  'P21 tRNS before PLTE',
  'P21 tRNS too long',
  'P21 tRNS with alpha',
  'P21 tRNS out of range',
  'P22 IDAT apart',
  'P22 IDAT after IEND',
  'P22 IEND with data',
  'P22 no IEND',
  'P22 bytes after IEND',
  'P25 too many data',
  'P25 bytes after the stream',
  'P31 16 bits',
]);
/**
 * The cases that the tolerant decoder refuses for another reason: the image data of two pixels do not fit the
 * header.
 */
const OTHER_CODES = new Map([['P31 16-bit RGBA', 'PNG_ZLIB']]);

describe('bad input', () => {
  it('starts from a good file', () => expect(Array.from(decodePng(good).data)).toEqual([1, 2]));

  it.each<[string, Uint8Array, string]>([
    ...SIGNATURE_CASES,
    ['P05 CR/LF', Buffer.concat([good.subarray(0, 4), good.subarray(5)]), 'PNG_SIGNATURE'],
    ['P07 IHDR checksum', changed(good, 31, 0), 'PNG_CRC'],
    ['P08 IDAT checksum', png(ihdr(2, 1), chunk('IDAT', zlib, 1), IEND), 'PNG_CRC'],
    [
      'P06 LF without CR',
      Buffer.concat([good.subarray(0, 6), Uint8Array.of(0x0a), good.subarray(8)]),
      'PNG_SIGNATURE',
    ],
    ['P09 colour type 1', png(ihdr(2, 1, 8, 1), ROWS, IEND), 'PNG_COLOR_TYPE'],
    ['P10 colour type 9', png(ihdr(2, 1, 8, 9), ROWS, IEND), 'PNG_COLOR_TYPE'],
    ['P11 depth 0', png(ihdr(2, 1, 0, 2), ROWS, IEND), 'PNG_BIT_DEPTH'],
    ['P12 depth 3', png(ihdr(2, 1, 3, 2), ROWS, IEND), 'PNG_BIT_DEPTH'],
    ['P13 depth 99', png(ihdr(2, 1, 99, 2), ROWS, IEND), 'PNG_BIT_DEPTH'],
    ['P14 no IDAT', png(ihdr(2, 1), IEND), 'PNG_MISSING_DATA'],
    ['P15 empty', new Uint8Array(0), 'PNG_TRUNCATED'],
    ['P15 7 bytes', good.subarray(0, 7), 'PNG_TRUNCATED'],
    ['P15 signature only', good.subarray(0, 8), 'PNG_TRUNCATED'],
    ['P15 half of IHDR', good.subarray(0, 22), 'PNG_TRUNCATED'],
    ['P16 IHDR not first', png(ROWS, ihdr(2, 1), IEND), 'PNG_CHUNK_ORDER'],
    ['P16 two IHDR', png(ihdr(2, 1), ihdr(2, 1), ROWS, IEND), 'PNG_CHUNK_ORDER'],
    ['P16 IHDR of 12 bytes', png(chunk('IHDR', new Uint8Array(12)), ROWS, IEND), 'PNG_CHUNK_LENGTH'],
    ['P17 width 0', png(ihdr(0, 1), ROWS, IEND), 'PNG_DIMENSIONS'],
    ['P17 height 2^31', png(ihdr(1, 2 ** 31), ROWS, IEND), 'PNG_DIMENSIONS'],
    ['P17 65535x65535', png(ihdr(65535, 65535), ROWS, IEND), 'PNG_LIMIT'],
    ['P17 16384x16384', png(ihdr(16384, 16384), ROWS, IEND), 'PNG_LIMIT'],
    ...PAIRS,
    ['P19 compression', png(ihdr(2, 1, 8, 0, 1), ROWS, IEND), 'PNG_METHOD'],
    ['P19 filter', png(ihdr(2, 1, 8, 0, 0, 1), ROWS, IEND), 'PNG_METHOD'],
    ['P19 interlace', png(ihdr(2, 1, 8, 0, 0, 0, 2), ROWS, IEND), 'PNG_METHOD'],
    ['P20 no palette', png(ihdr(2, 1, 8, 3), ROWS, IEND), 'PNG_PALETTE'],
    ['P20 empty palette', png(ihdr(2, 1, 8, 3), chunk('PLTE', []), ROWS, IEND), 'PNG_PALETTE'],
    ['P20 257 entries', png(ihdr(2, 1, 8, 3), chunk('PLTE', new Uint8Array(771)), ROWS, IEND), 'PNG_PALETTE'],
    ['P20 length 4', png(ihdr(2, 1, 8, 3), chunk('PLTE', [1, 2, 3, 4]), ROWS, IEND), 'PNG_PALETTE'],
    ['P20 palette after the data', png(ihdr(2, 1, 8, 3), ROWS, PLTE, IEND), 'PNG_CHUNK_ORDER'],
    ['P20 two palettes', png(ihdr(2, 1, 8, 3), PLTE, PLTE, ROWS, IEND), 'PNG_CHUNK_ORDER'],
    [
      'P20 more entries than the depth can name',
      png(ihdr(2, 1, 1, 3), chunk('PLTE', new Uint8Array(9)), ROWS, IEND),
      'PNG_PALETTE',
    ],
    ['P20 index past the end', png(ihdr(2, 1, 8, 3), PLTE, ROWS, IEND), 'PNG_PALETTE'],
    ['P20 grey with palette', png(ihdr(2, 1), PLTE, ROWS, IEND), 'PNG_PALETTE'],
    ['P21 tRNS before PLTE', png(ihdr(2, 1, 8, 3), chunk('tRNS', [1]), PLTE, ROWS, IEND), 'PNG_TRNS'],
    ['P21 tRNS too long', png(ihdr(2, 1, 8, 3), PLTE, chunk('tRNS', [1, 2]), ROWS, IEND), 'PNG_TRNS'],
    ['P21 tRNS with alpha', png(ihdr(1, 1, 8, 4), chunk('tRNS', [0, 1]), ROWS, IEND), 'PNG_TRNS'],
    ['P21 tRNS out of range', png(ihdr(2, 1), chunk('tRNS', [1, 1]), ROWS, IEND), 'PNG_TRNS'],
    ['P22 IDAT apart', png(ihdr(2, 1), ROWS, chunk('tEXt', []), ROWS, IEND), 'PNG_CHUNK_ORDER'],
    ['P22 IDAT after IEND', png(ihdr(2, 1), ROWS, IEND, ROWS), 'PNG_TRAILING_DATA'],
    ['P22 IEND with data', png(ihdr(2, 1), ROWS, chunk('IEND', [0])), 'PNG_CHUNK_LENGTH'],
    ['P22 no IEND', png(ihdr(2, 1), ROWS), 'PNG_TRUNCATED'],
    ['P22 bytes after IEND', png(ihdr(2, 1), ROWS, IEND, Uint8Array.of(0)), 'PNG_TRAILING_DATA'],
    ['P23 critical chunk', png(ihdr(2, 1), chunk('ABCD', []), ROWS, IEND), 'PNG_CRITICAL_CHUNK'],
    ['P24 length 2^32-1', changed(changed(good, 33, 255), 34, 255), 'PNG_CHUNK_LENGTH'],
    ['P24 length > rest', changed(good, 36, 200), 'PNG_CHUNK_LENGTH'],
    ['P25 zlib header', png(ihdr(2, 1), chunk('IDAT', changed(zlib, 0, 0x79)), IEND), 'PNG_ZLIB'],
    ['P25 dictionary', png(ihdr(2, 1), chunk('IDAT', [0x78, 0xbb, 0, 0, 0, 1, 3, 0]), IEND), 'PNG_ZLIB'],
    ['P25 distance too far back', png(ihdr(2, 1), chunk('IDAT', FAR_BACK), IEND), 'PNG_ZLIB'],
    ['P25 Adler-32', png(ihdr(2, 1), chunk('IDAT', changed(zlib, zlib.length - 1, 0)), IEND), 'PNG_ZLIB'],
    ['P25 stream ends early', png(ihdr(2, 1), chunk('IDAT', zlib.subarray(0, -2)), IEND), 'PNG_ZLIB'],
    ['P25 too few data', png(ihdr(2, 1), idat([0, 1]), IEND), 'PNG_ZLIB'],
    ['P25 too many data', png(ihdr(2, 1), idat([0, 1, 2, 3]), IEND), 'PNG_ZLIB'],
    ['P25 bytes after the stream', png(ihdr(2, 1), chunk('IDAT', [...zlib, 0]), IEND), 'PNG_ZLIB'],
    ['P25 empty IDAT', png(ihdr(2, 1), chunk('IDAT', []), IEND), 'PNG_ZLIB'],
    ...FILTERS,
    // These are more data than the rows of the stated size need. Unpacking stops soon after that size, and a
    // stated size above the limit is not unpacked at all.
    [
      'P27 bomb of a small image',
      png(ihdr(2, 1), chunk('IDAT', deflateSync(Buffer.alloc(2 ** 24))), IEND),
      'PNG_ZLIB',
    ],
    [
      'P27 bomb of its stated size',
      png(ihdr(16000, 16000), chunk('IDAT', deflateSync(Buffer.alloc(2 ** 24))), IEND),
      'PNG_LIMIT',
    ],
    [
      'P27 bomb below the limit',
      png(ihdr(16000, 8000), chunk('IDAT', deflateSync(Buffer.alloc(2 ** 24))), IEND),
      'PNG_ZLIB',
    ],
    ['P27 a stated size that no such data unpack to', png(ihdr(16000, 8000), ROWS, IEND), 'PNG_ZLIB'],
    ['P29 10^5 chunks', png(ihdr(2, 1), Buffer.alloc(12e5, chunk('tEXt', [])), ROWS, IEND), 'PNG_LIMIT'],
    ['P31 16 bits', png(ihdr(1, 1, 16, 0), ROWS, IEND), 'PNG_UNSUPPORTED'],
    ['P29 10^5 empty IDATs', png(ihdr(2, 1), Buffer.alloc(12e5, chunk('IDAT', [])), IEND), 'PNG_LIMIT'],
    ['P31 16-bit RGBA', png(ihdr(1, 1, 16, 6), ROWS, IEND), 'PNG_UNSUPPORTED'],
    ['P33 GIF', Buffer.from('GIF89a'), 'PNG_SIGNATURE'],
    ['P33 WebP', Buffer.from('RIFF\0\0\0\0WEBP'), 'PNG_SIGNATURE'],
    ['P33 SVG', Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), 'PNG_SIGNATURE'],
    ['P33 JPEG', Uint8Array.of(0xff, 0xd8, 0xff, 0xe0), 'PNG_SIGNATURE'],
    ['P33 HTML', Buffer.from('<!doctype html>'), 'PNG_SIGNATURE'],
  ])('%s', (name, bytes, code) => {
    expect(codeOf(() => decodePng(bytes, { strict: true }))).toBe(code);
    if (!READ.has(name)) expect(codeOf(() => decodePng(bytes))).toBe(OTHER_CODES.get(name) ?? code);
  });

  it('starts from a good file when strict', () => {
    expect(Array.from(decodePng(good, { strict: true }).data)).toEqual([1, 2]);
  });

  it('has limits that can be set, exact to the unit; the error names the option, its value and one that would do', () => {
    const refused = (limits: PngLimits) => {
      const error = errorOf(() => decodePng(good, { ...limits, file: 'x.png' }));
      const [name, value] = Object.entries(limits)[0]!;
      expect(error).toMatchObject({ code: 'PNG_LIMIT' });
      expect(error.message).toMatch(new RegExp(`in x\\.png.*, but ${name} is ${value}$`));
      const option = new RegExp(`raise the limit: \\{ ${name}: (\\d+) \\}$`);
      expect(error.remedy).toMatch(option);
      const enough = Number(option.exec(error.remedy ?? '')?.[1]);
      expect(codeOf(() => decodePng(good, { [name]: enough }))).toBe('accept');
    };
    refused({ maxSide: 1 });
    refused({ maxChunks: 2 });
    refused({ maxCompressedBytes: zlib.length - 1 });
    refused({ maxBytes: 3 });
    const exact = { maxSide: 2, maxChunks: 3, maxCompressedBytes: zlib.length, maxBytes: 4 };
    expect(codeOf(() => decodePng(good, exact))).toBe('accept');
    expect(codeOf(() => decodePng(good, { ...exact, strict: true }))).toBe('accept');
  });

  it('reads an image of 48 megapixels by default, also one that hardly compresses, in chunks of 8 KiB', () => {
    const limits = pngLimits.parse({});
    const scanlines = 6000 * (8000 * 8 + 1);
    expect(limits.maxSide).toBeGreaterThanOrEqual(8000);
    expect(limits.maxBytes).toBeGreaterThanOrEqual(8000 * 6000 * 8);
    expect(limits.maxCompressedBytes).toBeGreaterThanOrEqual(scanlines + 5 * Math.ceil(scanlines / 16_383));
    expect(limits.maxChunks).toBeGreaterThanOrEqual(Math.ceil(limits.maxCompressedBytes / 8192) + 100);
  });

  it('says what to do about what strict refuses', () => {
    const error = errorOf(() => decodePng(png(ihdr(2, 1), ROWS, IEND, Buffer.alloc(3)), { strict: true }));
    expect(error).toMatchObject({ code: 'PNG_TRAILING_DATA', remedy: 'leave out { strict: true }' });
  });

  it('refuses a limit that it does not know, and suggests one that it does', () => {
    const misspelt = { maxChunk: 3 } as object;
    expect(codeOf(() => decodePng(good, misspelt))).toBe('ERR_INVALID_ARG_VALUE');
    expect(() => decodePng(good, misspelt)).toThrow(/decodePng: unknown option 'maxChunk'.*'maxChunks'/);
  });

  it('names the file', () => {
    expect(() => decodePng(changed(good, 31, 0), { file: 'x.png' })).toThrow(/IHDR.*in x\.png/);
  });

  it('P17, P27: allocates nothing for what is refused', () => {
    const sizes = png(ihdr(65535, 65535), ROWS, IEND);
    const bomb = png(ihdr(2, 1), chunk('IDAT', deflateSync(Buffer.alloc(2 ** 26))), IEND);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < 20; ++i) {
      expect(codeOf(() => decodePng(sizes))).toBe('PNG_LIMIT');
      expect(codeOf(() => decodePng(bomb))).toBe('PNG_ZLIB');
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 25);
  });
});

/** Small files, one of every kind that the decoder reads. */
const SMALL_FILES = new Map<string, Buffer>([
  ['RGB, encoded here', Buffer.from(encodePng({ data: noise(300, 3), width: 10, height: 10, channels: 3 }))],
  ['RGBA, encoded here', Buffer.from(encodePng({ data: noise(60, 4), width: 3, height: 5, channels: 4 }))],
  ['all filters', png(ihdr(3, 5, 8, 2), idat(filteredRows(noise(45, 5))), IEND)],
  ['1-bit grey', png(ihdr(3, 1, 1, 0), idat([0, 0b10100000]), IEND)],
  [
    '4-bit grey with a transparent level',
    png(ihdr(2, 1, 4, 0), chunk('tRNS', [0, 3]), idat([0, 0x34]), IEND),
  ],
  [
    'palette with transparency',
    png(
      ihdr(2, 1, 2, 3),
      chunk('PLTE', [1, 2, 3, 4, 5, 6, 7, 8, 9]),
      chunk('tRNS', [0, 40]),
      idat([0, 0x90]),
      IEND,
    ),
  ],
  [
    'Adam7',
    png(
      ihdr(8, 8, 8, 0, 0, 0, 1),
      idat(
        ADAM7_ROWS.flatMap(([rows, width], i) =>
          Array<number>(rows * (width + 1))
            .fill(0)
            .map((_, j) => (j % (width + 1) === 0 ? 0 : i * 9 + j)),
        ),
      ),
      IEND,
    ),
  ],
  [
    'ancillary chunks, three IDATs',
    png(
      ihdr(2, 1),
      chunk('gAMA', [0, 0, 177, 143]),
      ...[0, 4, 8].map((at) => chunk('IDAT', zlib.subarray(at, at + 4 > 8 ? undefined : at + 4))),
      chunk('tEXt', [65, 0, 66]),
      IEND,
    ),
  ],
]);

/**
 * Decodes a file to the image alone. A flipped bit can change the type of the tRNS chunk, so that the
 * transparent colour is lost. The note about the wrong checksum reports this, so such a file counts as
 * refused.
 */
function readTolerant(bytes: Uint8Array) {
  const { notes, ...image } = decodePng(bytes);
  const lost = image.channels !== 2 && image.channels !== 4;
  if (lost && notes.includes(NOTES.checksum)) {
    throw new PixelCnnError('PNG_TOLD', notes.join());
  }
  return image;
}

describe('P35: damage', () => {
  it.each([...SMALL_FILES])('%s: every truncation is refused, every bit flip too or harmless', (_, bytes) => {
    const read = (file: Uint8Array) => decodePng(file, { strict: true });
    expectTruncationsRefused(bytes, read, /^PNG_/);
    expect(readWithFlips(bytes, read, /^PNG_/).wrong).toEqual([]);
  });

  it.each([...SMALL_FILES])(
    '%s: tolerant, a truncation or a flip is refused, harmless or told',
    (name, bytes) => {
      const { notes, ...whole } = decodePng(bytes);
      expect(notes).toEqual([]);
      // A file without a transparent colour must give exactly the same pixels.
      const read = name.includes('transparen')
        ? readTolerant
        : (file: Uint8Array) => ({ ...decodePng(file), notes: undefined });
      const { wrong, harmless } = readWithFlips(bytes, read, /^PNG_/);
      expect(wrong).toEqual([]);
      const withoutEnd: number[] = [];
      for (let length = 0; length < bytes.length; ++length) {
        const code = codeOf(() => {
          const { notes, ...image } = decodePng(bytes.subarray(0, length));
          expect(notes).toContain(NOTES.noEnd);
          expect(image).toEqual(whole);
        });
        if (code === 'accept') withoutEnd.push(length);
        else expect(code).toMatch(/^PNG_/);
      }
      // The image data and their checksum are complete, and any part of what follows may be missing.
      const dataEnd = bytes.lastIndexOf('IDAT');
      const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(dataEnd - 4);
      const first = dataEnd + 4 + length + 4;
      expect(withoutEnd).toEqual(Array.from({ length: bytes.length - first }, (_, i) => first + i));
      expect(harmless).toBeGreaterThan(0);
    },
  );

  it('would show a decoder that does not verify checksums', () => {
    // The decoder sets the limits that fit before it decodes.
    const careless = (bytes: Uint8Array) => {
      const copy = Buffer.from(bytes);
      for (let at = 8; at + 12 <= copy.length; ) {
        const end = at + 8 + copy.readUInt32BE(at);
        if (end + 4 > copy.length) break;
        copy.writeUInt32BE(crc32(copy.subarray(at + 4, end)), end);
        at = end + 4;
      }
      return decodePng(copy, { strict: true });
    };
    const file = SMALL_FILES.get('palette with transparency')!;
    expect(readWithFlips(file, careless, /^PNG_/).wrong.length).toBeGreaterThan(50);
  });
});

describe('pngKind', () => {
  it('tells depth and colour type from the first 33 bytes', () => {
    for (const [depth, colorType] of [
      [1, 0],
      [16, 0],
      [8, 2],
      [4, 3],
      [16, 4],
      [8, 6],
    ] as const) {
      const file = png(ihdr(5, 7, depth, colorType), ROWS, IEND);
      expect(pngKind(file)).toEqual({ depth, colorType });
      expect(pngKind(file.subarray(0, 33))).toEqual({ depth, colorType });
      expect(pngKind(file.subarray(0, 32))).toBeUndefined();
    }
  });

  it('says nothing of what is no PNG', () => {
    expect(pngKind(new Uint8Array(0))).toBeUndefined();
    expect(pngKind(Buffer.alloc(64, 'GIF89a'))).toBeUndefined();
    expect(pngKind(png(ihdr(1, 1, 3, 2), ROWS, IEND))).toBeUndefined();
    expect(pngKind(png(ROWS, ihdr(1, 1), IEND))).toBeUndefined();
  });
});
