// Tests the time of the PNG decoder for oversized files (reliability.md §2.4, P29) and photographs.
import { crc32, deflateSync } from 'node:zlib';
import { expect, it } from 'vitest';
import { decodePng, encodePng } from '../../src/data/png.js';
import { codeOf } from '../helpers/damage.js';
import { chunk, IEND, ihdr, png } from '../helpers/png-file.js';
import { expectWithin } from '../helpers/time-limit.js';

it('P29: refuses a million chunks fast', async () => {
  const good = encodePng({ data: new Uint8Array(2), width: 2, height: 1, channels: 1 });
  const empty = Buffer.alloc(12);
  empty.write('tEXt', 4, 'latin1');
  empty.writeUInt32BE(crc32(empty.subarray(4, 8)), 8);
  // The offset after the signature and IHDR.
  const bytes = Buffer.concat([good.subarray(0, 33), Buffer.alloc(12e6, empty), good.subarray(33)]);
  expect(codeOf(() => decodePng(good))).toBe('accept');
  // It takes 50 ms on an idle machine. Reading all chunks would take a second.
  await expectWithin(300, 'refusing a million chunks', async (stopwatch) => {
    expect(await stopwatch(() => codeOf(() => decodePng(bytes)))).toBe('PNG_LIMIT');
  });
});

it('decodes a photograph of 48 megapixels, in chunks of 8 KiB, by default', async () => {
  const [width, height] = [8000, 6000];
  const stride = 3 * width + 1;
  const scanlines = new Uint8Array(height * stride);
  for (let i = 0; i < scanlines.length; ++i) scanlines[i] = (i * i) >> 7;
  for (let y = 0; y < height; ++y) scanlines[y * stride] = y % 5;
  const data = deflateSync(scanlines, { level: 1 });
  const parts = Array.from({ length: Math.ceil(data.length / 8192) }, (_, i) => {
    return chunk('IDAT', data.subarray(8192 * i, 8192 * (i + 1)));
  });
  const bytes = png(ihdr(width, height, 8, 2), ...parts, IEND);
  expect(parts.length).toBeGreaterThan(1000);
  // It takes 0.5 s on an idle machine. With a function call for each sample it would take three times as
  // long.
  await expectWithin(1500, 'decoding 48 megapixels', async (stopwatch) => {
    const image = await stopwatch(() => decodePng(bytes));
    expect([image.width, image.height, image.channels, image.notes]).toEqual([width, height, 3, []]);
  });
});
