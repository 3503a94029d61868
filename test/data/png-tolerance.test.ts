// Tests PNG files that depart from the standard but that viewers show, and files of 16 bits per channel.
//
// The decoder must give the right pixels and a note, and refuse the file when strict. libpng 1.6.58 gives the
// expected pixels too, except where a comment says otherwise.
import { deflateSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decodePng } from '../../src/data/png.js';
import { NOTES } from '../../src/data/png-header.js';
import { codeOf } from '../helpers/damage.js';
import { chunk, IEND, idat, ihdr, png } from '../helpers/png-file.js';

const GREY = ihdr(2, 1);
const RGB = ihdr(2, 1, 8, 2);
const INDEXED = ihdr(2, 1, 8, 3);
const ROW = idat([0, 1, 2]);
const RGB_ROW = idat([0, 1, 2, 3, 4, 5, 6]);
const zlib = deflateSync(Uint8Array.of(0, 1, 2));
const PLTE = chunk('PLTE', [9, 8, 7, 60, 50, 40, 30, 20, 10]);
const TRNS_RGB = chunk('tRNS', [0, 1, 0, 2, 0, 3]);
const text = (checksum?: number) => chunk('tEXt', [65, 0, 66], checksum);
const animation = (images: number) => chunk('acTL', [0, 0, 0, images, 0, 0, 0, 0]);
const frame = [chunk('fcTL', new Uint8Array(26)), chunk('fdAT', [0, 0, 0, 1, ...zlib])];

/** For each case: name, file, channels, pixels, notes, and the error code of the strict decoder. */
type Row = [string, Uint8Array, number[], string[], string];

const rows: Row[] = [
  // Faults after the image.
  [
    'bytes after IEND',
    png(GREY, ROW, IEND, Buffer.from('x')),
    [1, 1, 2],
    [NOTES.trailing],
    'PNG_TRAILING_DATA',
  ],
  [
    'a PNG after IEND',
    png(GREY, ROW, IEND, png(GREY, idat([0, 7, 8]), IEND)),
    [1, 1, 2],
    [NOTES.trailing],
    'PNG_TRAILING_DATA',
  ],
  [
    'an IEND that is not empty',
    png(GREY, ROW, chunk('IEND', [1])),
    [1, 1, 2],
    [NOTES.trailing],
    'PNG_CHUNK_LENGTH',
  ],
  ['no IEND', png(GREY, ROW), [1, 1, 2], [NOTES.noEnd], 'PNG_TRUNCATED'],
  ['half an IEND', png(GREY, ROW, IEND.subarray(0, 6)), [1, 1, 2], [NOTES.noEnd], 'PNG_TRUNCATED'],
  [
    'half a chunk behind the data',
    png(GREY, ROW, chunk('tEXt', Buffer.alloc(99)).subarray(0, 50)),
    [1, 1, 2],
    [NOTES.noEnd],
    'PNG_CHUNK_LENGTH',
  ],
  ['zeros in place of IEND', png(GREY, ROW, Buffer.alloc(500)), [1, 1, 2], [NOTES.noEnd], 'PNG_CHUNK_TYPE'],
  // Wrong checksums and places of chunks that do not contain the image.
  [
    'a wrong checksum of tEXt',
    png(GREY, text(1), ROW, text(2), IEND),
    [1, 1, 2],
    [NOTES.checksum],
    'PNG_CRC',
  ],
  [
    'a wrong checksum of pHYs, gAMA and iCCP',
    png(GREY, chunk('pHYs', Buffer.alloc(9), 1), chunk('gAMA', [0], 1), chunk('iCCP', [], 1), ROW, IEND),
    [1, 1, 2],
    [NOTES.checksum],
    'PNG_CRC',
  ],
  [
    'IDAT apart, behind a whole image',
    png(GREY, ROW, text(), idat([0, 7, 8]), IEND),
    [1, 1, 2],
    [NOTES.trailing],
    'PNG_CHUNK_ORDER',
  ],
  ['two IDAT apart', png(GREY, ROW, text(), ROW, ROW, IEND), [1, 1, 2], [NOTES.trailing], 'PNG_CHUNK_ORDER'],
  // Faults of palettes.
  ['a palette in a grey image', png(GREY, PLTE, ROW, IEND), [1, 1, 2], [NOTES.palette], 'PNG_PALETTE'],
  [
    'a palette of 4 bytes in a grey image',
    png(GREY, chunk('PLTE', [1, 2, 3, 4]), ROW, IEND),
    [1, 1, 2],
    [NOTES.palette],
    'PNG_PALETTE',
  ],
  [
    'a palette in a grey image with alpha',
    png(ihdr(1, 1, 8, 4), PLTE, ROW, IEND),
    [2, 1, 2],
    [NOTES.palette],
    'PNG_PALETTE',
  ],
  [
    'a palette behind tRNS in a grey image',
    png(GREY, chunk('tRNS', [0, 2]), PLTE, ROW, IEND),
    [2, 1, 255, 2, 0],
    [NOTES.palette],
    'PNG_CHUNK_ORDER',
  ],
  [
    'a palette of 4 bytes in an RGB image',
    png(RGB, chunk('PLTE', [1, 2, 3, 4]), RGB_ROW, IEND),
    [3, 1, 2, 3, 4, 5, 6],
    [NOTES.palette],
    'PNG_PALETTE',
  ],
  [
    'a palette of 300 colours in an RGB image',
    png(RGB, chunk('PLTE', Buffer.alloc(900)), RGB_ROW, IEND),
    [3, 1, 2, 3, 4, 5, 6],
    [NOTES.palette],
    'PNG_PALETTE',
  ],
  [
    'a palette behind the data of an RGB image',
    png(RGB, RGB_ROW, PLTE, IEND),
    [3, 1, 2, 3, 4, 5, 6],
    [NOTES.palette],
    'PNG_CHUNK_ORDER',
  ],
  [
    '3 colours for 1 bit',
    png(ihdr(2, 1, 1, 3), PLTE, idat([0, 0b01000000]), IEND),
    [3, 9, 8, 7, 60, 50, 40],
    [NOTES.paletteEntries],
    'PNG_PALETTE',
  ],
  [
    '256 colours for 4 bits',
    png(ihdr(2, 1, 4, 3), chunk('PLTE', Buffer.alloc(768, Buffer.of(5, 6, 7))), idat([0, 0xf0]), IEND),
    [3, 5, 6, 7, 5, 6, 7],
    [NOTES.paletteEntries],
    'PNG_PALETTE',
  ],
  [
    'a pixel whose colour the palette lacks',
    png(INDEXED, PLTE, idat([0, 3, 1]), IEND),
    [3, 0, 0, 0, 60, 50, 40],
    [NOTES.unknownColor],
    'PNG_PALETTE',
  ],
  [
    'a pixel whose colour the palette lacks, with tRNS',
    png(INDEXED, PLTE, chunk('tRNS', [4]), idat([0, 0, 255]), IEND),
    [4, 9, 8, 7, 4, 0, 0, 0, 255],
    [NOTES.unknownColor],
    'PNG_PALETTE',
  ],
  // Faults of transparent colours. libpng ignores a tRNS chunk that is longer than the palette, which gives 3
  // channels.
  [
    'tRNS longer than PLTE',
    png(INDEXED, PLTE, chunk('tRNS', [...Array(255).fill(7), 99]), idat([0, 0, 2]), IEND),
    [4, 9, 8, 7, 7, 30, 20, 10, 7],
    [NOTES.transparencyEntries],
    'PNG_TRNS',
  ],
  [
    'PLTE and tRNS of 256 entries for 1 bit',
    png(
      ihdr(2, 1, 1, 3),
      chunk('PLTE', Buffer.alloc(768, 6)),
      chunk('tRNS', Buffer.alloc(256, 3)),
      idat([0, 64]),
      IEND,
    ),
    [4, 6, 6, 6, 3, 6, 6, 6, 3],
    [NOTES.paletteEntries, NOTES.transparencyEntries],
    'PNG_PALETTE',
  ],
  [
    'an empty tRNS',
    png(INDEXED, PLTE, chunk('tRNS', []), idat([0, 0, 2]), IEND),
    [3, 9, 8, 7, 30, 20, 10],
    [NOTES.transparency],
    'PNG_TRNS',
  ],
  [
    'tRNS before PLTE',
    png(INDEXED, chunk('tRNS', [5]), PLTE, idat([0, 0, 2]), IEND),
    [3, 9, 8, 7, 30, 20, 10],
    [NOTES.transparency],
    'PNG_TRNS',
  ],
  [
    'tRNS before PLTE in an RGB image',
    png(RGB, TRNS_RGB, PLTE, RGB_ROW, IEND),
    [4, 1, 2, 3, 0, 4, 5, 6, 255],
    [NOTES.palette],
    'PNG_CHUNK_ORDER',
  ],
  [
    'tRNS in RGBA',
    png(ihdr(1, 1, 8, 6), TRNS_RGB, idat([0, 1, 2, 3, 4]), IEND),
    [4, 1, 2, 3, 4],
    [NOTES.transparencyWithAlpha],
    'PNG_TRNS',
  ],
  [
    'tRNS in grey with alpha',
    png(ihdr(1, 1, 8, 4), chunk('tRNS', [0, 1]), ROW, IEND),
    [2, 1, 2],
    [NOTES.transparencyWithAlpha],
    'PNG_TRNS',
  ],
  [
    'tRNS of 1 byte in grey',
    png(GREY, chunk('tRNS', [1]), ROW, IEND),
    [1, 1, 2],
    [NOTES.transparency],
    'PNG_TRNS',
  ],
  [
    'tRNS of grey in RGB',
    png(RGB, chunk('tRNS', [0, 1]), RGB_ROW, IEND),
    [3, 1, 2, 3, 4, 5, 6],
    [NOTES.transparency],
    'PNG_TRNS',
  ],
  [
    'tRNS of more bits than a channel has',
    png(GREY, chunk('tRNS', [3, 2]), ROW, IEND),
    [2, 1, 255, 2, 0],
    [NOTES.transparencyBits],
    'PNG_TRNS',
  ],
  [
    'two tRNS, of which the first counts',
    png(GREY, chunk('tRNS', [0, 1]), chunk('tRNS', [0, 2]), ROW, IEND),
    [2, 1, 0, 2, 255],
    [NOTES.transparencyRepeated],
    'PNG_CHUNK_ORDER',
  ],
  [
    'tRNS behind the data',
    png(GREY, ROW, chunk('tRNS', [0, 1]), IEND),
    [1, 1, 2],
    [NOTES.transparencyRepeated],
    'PNG_CHUNK_ORDER',
  ],
  // Faults of the image data.
  [
    '4 bytes behind the zlib stream',
    png(GREY, chunk('IDAT', [...zlib, 0, 0, 0, 0]), IEND),
    [1, 1, 2],
    [NOTES.trailing],
    'PNG_ZLIB',
  ],
  ['a second zlib stream', png(GREY, ROW, ROW, IEND), [1, 1, 2], [NOTES.trailing], 'PNG_ZLIB'],
  ['a row too many', png(GREY, idat([0, 1, 2, 0, 3, 4]), IEND), [1, 1, 2], [NOTES.rows], 'PNG_ZLIB'],
  ['a byte too many', png(GREY, idat([0, 1, 2, 0]), IEND), [1, 1, 2], [NOTES.rows], 'PNG_ZLIB'],
  [
    '1,000 rows too many',
    png(GREY, idat([0, 1, 2, ...Array(3000).fill(9)]), IEND),
    [1, 1, 2],
    [NOTES.rows],
    'PNG_ZLIB',
  ],
  [
    'several of these',
    png(GREY, PLTE, text(3), idat([0, 1, 2, 0]), IEND, Buffer.alloc(9)),
    [1, 1, 2],
    [NOTES.palette, NOTES.checksum, NOTES.trailing, NOTES.rows],
    'PNG_PALETTE',
  ],
  // Files of 16 bits per channel.
  [
    '16-bit grey',
    png(ihdr(2, 1, 16, 0), idat([0, 0x12, 0x34, 0xff, 0x7f]), IEND),
    [1, 0x12, 0xff],
    [NOTES.depth],
    'PNG_UNSUPPORTED',
  ],
  [
    '16-bit grey with alpha',
    png(ihdr(1, 1, 16, 4), idat([0, 0, 129, 0x80, 0]), IEND),
    [2, 1, 128],
    [NOTES.depth],
    'PNG_UNSUPPORTED',
  ],
  [
    '16-bit RGB',
    png(ihdr(1, 1, 16, 2), idat([0, 0, 128, 0, 129, 0xff, 0xff]), IEND),
    [3, 0, 1, 255],
    [NOTES.depth],
    'PNG_UNSUPPORTED',
  ],
  [
    '16-bit RGBA',
    png(ihdr(1, 1, 16, 6), idat([0, 1, 1, 2, 2, 3, 3, 4, 4]), IEND),
    [4, 1, 2, 3, 4],
    [NOTES.depth],
    'PNG_UNSUPPORTED',
  ],
  // Both pixels are scaled to 1, but only one of them is transparent.
  [
    '16-bit grey with tRNS',
    png(ihdr(2, 1, 16, 0), chunk('tRNS', [1, 1]), idat([0, 1, 1, 1, 2]), IEND),
    [2, 1, 0, 1, 255],
    [NOTES.depth],
    'PNG_UNSUPPORTED',
  ],
  [
    '16-bit RGB with tRNS',
    png(
      ihdr(2, 1, 16, 2),
      chunk('tRNS', [1, 1, 2, 2, 3, 3]),
      idat([0, 1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 4]),
      IEND,
    ),
    [4, 1, 2, 3, 0, 1, 2, 3, 255],
    [NOTES.depth],
    'PNG_UNSUPPORTED',
  ],
];

describe('what viewers show', () => {
  it.each(rows)('%s', (_, bytes, [channels, ...pixels], notes, code) => {
    const image = decodePng(bytes);
    expect([image.channels, ...image.data]).toEqual([channels, ...pixels]);
    expect([...image.notes].sort()).toEqual([...notes].sort());
    expect(codeOf(() => decodePng(bytes, { strict: true }))).toBe(code);
  });

  it('has notes that are sentences of their own, the same for every file', () => {
    const texts = Object.values(NOTES);
    expect(new Set(texts).size).toBe(texts.length);
    for (const note of texts) expect(note).toMatch(/^(16 bits|[a-z])[^.\n]*$/);
    // Every note must be expected of some file above or below.
    const seen = new Set(rows.flatMap(([, , , notes]) => notes));
    expect(texts.filter((note) => !seen.has(note))).toEqual([NOTES.animation]);
  });
});

describe('what is no departure from the standard', () => {
  it.each<[string, Uint8Array, string[]]>([
    ['many ancillary chunks', png(GREY, ...Array<Buffer>(2000).fill(text()), ROW, text(), IEND), []],
    [
      'ancillary chunks in any order',
      png(
        GREY,
        text(),
        chunk('pHYs', Buffer.alloc(9)),
        chunk('gAMA', [0, 0, 1, 1]),
        ROW,
        chunk('sRGB', [0]),
        IEND,
      ),
      [],
    ],
    ['an animation', png(GREY, animation(2), frame[0]!, ROW, ...frame, IEND), [NOTES.animation]],
    [
      'an animation without its default image',
      png(GREY, animation(9), ROW, ...frame, ...frame, IEND),
      [NOTES.animation],
    ],
    [
      'an animation of 600 images',
      png(GREY, animation(255), ROW, ...Array<Buffer[]>(600).fill(frame).flat(), IEND),
      [NOTES.animation],
    ],
    ['an animation of one image', png(GREY, animation(1), frame[0]!, ROW, IEND), []],
    ['a damaged acTL', png(GREY, chunk('acTL', [0, 0, 0, 2]), ROW, IEND), []],
  ])('%s: read alike, strict or not', (_, bytes, notes) => {
    for (const strict of [false, true]) {
      const image = decodePng(bytes, { strict });
      expect([image.channels, ...image.data]).toEqual([1, 1, 2]);
      expect(image.notes).toEqual(notes);
    }
  });

  it('a suggested palette in an RGB image', () => {
    for (const strict of [false, true]) {
      const image = decodePng(png(RGB, PLTE, TRNS_RGB, RGB_ROW, IEND), { strict });
      expect([image.channels, ...image.data]).toEqual([4, 1, 2, 3, 0, 4, 5, 6, 255]);
      expect(image.notes).toEqual([]);
    }
  });
});

describe('what stays refused', () => {
  it.each<[string, Uint8Array, string]>([
    ['a wrong checksum of IHDR', png(chunk('IHDR', GREY.subarray(8, 21), 1), ROW, IEND), 'PNG_CRC'],
    ['a wrong checksum of PLTE', png(INDEXED, chunk('PLTE', [1, 2, 3], 1), ROW, IEND), 'PNG_CRC'],
    ['a wrong checksum of PLTE in grey', png(GREY, chunk('PLTE', [1, 2, 3], 1), ROW, IEND), 'PNG_CRC'],
    ['a wrong checksum of IDAT', png(GREY, chunk('IDAT', zlib, 1), IEND), 'PNG_CRC'],
    ['a wrong checksum of tRNS', png(RGB, chunk('tRNS', [0, 1, 0, 2, 0, 3], 1), RGB_ROW, IEND), 'PNG_CRC'],
    ['a wrong checksum of IEND', png(GREY, ROW, chunk('IEND', [], 1)), 'PNG_CRC'],
    [
      'a first chunk with a wrong checksum that is not IHDR',
      png(text(1), GREY, ROW, IEND),
      'PNG_CHUNK_ORDER',
    ],
    [
      'a wrong Adler-32 of whole data',
      png(GREY, chunk('IDAT', [...zlib.subarray(0, -1), 0]), IEND),
      'PNG_ZLIB',
    ],
    ['whole data without their Adler-32', png(GREY, chunk('IDAT', zlib.subarray(0, -4)), IEND), 'PNG_ZLIB'],
    ['half the data and no IEND', png(GREY, chunk('IDAT', zlib.subarray(0, 6))), 'PNG_TRUNCATED'],
    ['one row of two and no IEND', png(ihdr(2, 2), ROW), 'PNG_TRUNCATED'],
    [
      'half the data and a cut IDAT',
      png(GREY, chunk('IDAT', zlib.subarray(0, 6)), chunk('IDAT', zlib.subarray(6)).subarray(0, 11)),
      'PNG_TRUNCATED',
    ],
    [
      'half the data and zeros',
      png(GREY, chunk('IDAT', zlib.subarray(0, 6)), Buffer.alloc(500)),
      'PNG_TRUNCATED',
    ],
    ['zeros in place of the data', png(GREY, Buffer.alloc(500)), 'PNG_CHUNK_TYPE'],
    ['an IDAT cut in its data', png(GREY, ROW.subarray(0, -2)), 'PNG_CHUNK_LENGTH'],
    [
      'half the data, and half apart',
      png(GREY, chunk('IDAT', zlib.subarray(0, 6)), text(), chunk('IDAT', zlib.subarray(6)), IEND),
      'PNG_ZLIB',
    ],
    ['two palettes', png(INDEXED, PLTE, PLTE, ROW, IEND), 'PNG_CHUNK_ORDER'],
    ['two palettes in an RGB image', png(RGB, PLTE, PLTE, RGB_ROW, IEND), 'PNG_CHUNK_ORDER'],
    ['a palette of 257 colours', png(INDEXED, chunk('PLTE', Buffer.alloc(771)), ROW, IEND), 'PNG_PALETTE'],
    ['a palette behind the data that need it', png(INDEXED, ROW, PLTE, IEND), 'PNG_CHUNK_ORDER'],
    ['no palette and no IEND', png(INDEXED, ROW), 'PNG_PALETTE'],
    ['a critical chunk behind the data', png(GREY, ROW, chunk('ABCD', []), IEND), 'PNG_CRITICAL_CHUNK'],
    ['data of 65,537 bytes too many', png(GREY, idat([0, 1, 2, ...Array(65_537).fill(0)]), IEND), 'PNG_ZLIB'],
  ])('%s', (_, bytes, code) => {
    expect(codeOf(() => decodePng(bytes))).toBe(code);
    expect(codeOf(() => decodePng(bytes, { strict: true }))).toMatch(/^PNG_/);
  });
});

it('scales every 16-bit value to the nearest of 8 bits', () => {
  const values = Uint16Array.from({ length: 65_536 }, (_, i) => i);
  const scanlines = Array.from({ length: 8 }, (_, y) => [
    0,
    ...Array.from(values.subarray(8192 * y, 8192 * (y + 1)), (value) => [value >> 8, value & 255]).flat(),
  ]);
  const image = decodePng(png(ihdr(8192, 8, 16, 0), idat(scanlines.flat()), IEND));
  expect(image.data).toEqual(Uint8Array.from(values, (value) => Math.round((value * 255) / 65_535)));
});

it('reads interlaced 16-bit images like the others', () => {
  // The pixels of a 3x3 image, pass by pass. Each has the value 257 * (1 + its index).
  const passes = [[[0]], [], [], [[2]], [[6, 8]], [[1], [7]], [[3, 4, 5]]];
  const scanlines = passes.flat().flatMap((row) => [0, ...row.flatMap((i) => [i + 1, i + 1])]);
  const image = decodePng(png(ihdr(3, 3, 16, 0, 0, 0, 1), idat(scanlines), IEND));
  expect(Array.from(image.data)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
});

it('asks for no memory that the image data cannot fill', () => {
  const small = png(ihdr(8000, 6000, 16, 6), ROW, IEND);
  const before = process.memoryUsage().rss;
  for (let i = 0; i < 50; ++i) expect(codeOf(() => decodePng(small))).toBe('PNG_ZLIB');
  expect(process.memoryUsage().rss - before).toBeLessThan(2 ** 25);
});
