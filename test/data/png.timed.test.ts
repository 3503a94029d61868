// The PNG decoder ends early where a file has too much of anything (reliability.md §2.4, P29).
import { crc32 } from 'node:zlib';
import { expect, it } from 'vitest';
import { decodePng, encodePng } from '../../src/data/png.js';
import { codeOf } from '../helpers/damage.js';
import { expectWithin } from '../helpers/time-limit.js';

it('P29: refuses a million chunks fast', async () => {
  const good = encodePng({ data: new Uint8Array(2), width: 2, height: 1, channels: 1 });
  const empty = Buffer.alloc(12);
  empty.write('tEXt', 4, 'latin1');
  empty.writeUInt32BE(crc32(empty.subarray(4, 8)), 8);
  // Behind the signature and IHDR.
  const bytes = Buffer.concat([good.subarray(0, 33), Buffer.alloc(12e6, empty), good.subarray(33)]);
  expect(codeOf(() => decodePng(good))).toBe('accept');
  // 50 ms on an idle machine; the reading of all chunks takes a second.
  await expectWithin(300, 'refusing a million chunks', async (stopwatch) => {
    expect(await stopwatch(() => codeOf(() => decodePng(bytes)))).toBe('PNG_LIMIT');
  });
});
