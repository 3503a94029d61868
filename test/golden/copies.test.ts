// test/golden holds the files of ../shared/oracle up to 1 MB, byte for byte, so that a clone by itself can use them.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { GoldenFile, goldenFolder, oracleFolder } from '../helpers/golden-files.js';
import { skipAloud } from '../helpers/skip.js';

const largest = 1e6;
const files = readdirSync(goldenFolder).filter((file) => file.endsWith('.safetensors'));

/** What is wrong with `copies` as copies of the files of `originals` up to 1 MB. */
function copyFaults(copies: string, originals: string): string[] {
  return readdirSync(originals)
    .filter((file) => statSync(join(originals, file)).size <= largest)
    .flatMap((file) => {
      if (!existsSync(join(copies, file))) return [`${file} is missing`];
      const same = readFileSync(join(copies, file)).equals(readFileSync(join(originals, file)));
      return same ? [] : [`${file} differs`];
    });
}

describe('test/golden', () => {
  it('has plain, gated, coded and mixture models, none above 1 MB', () => {
    for (const part of ['pixelcnn_', 'sampling_', 'gated_', '_codes', 'mixture_'])
      expect(files.filter((file) => file.includes(part)).length, part).toBeGreaterThanOrEqual(2);
    for (const file of files) expect(statSync(goldenFolder + file).size, file).toBeLessThanOrEqual(largest);
  });

  it.each(files)('%s can be read', (file) => {
    const { tensors, metadata } = new GoldenFile(file);
    expect(tensors.size).toBeGreaterThan(3);
    expect(Object.keys(metadata).length).toBeGreaterThan(0);
  });

  const missing = existsSync(oracleFolder) ? undefined : '../shared/oracle does not exist';
  it.skipIf(skipAloud('the comparison of golden files with ../shared/oracle', missing))(
    'has what ../shared/oracle has',
    () => {
      expect(copyFaults(goldenFolder, oracleFolder)).toEqual([]);
    },
  );

  it('would notice a copy that is missing or was changed', () => {
    const originals = mkdtempSync(join(tmpdir(), 'pixelcnn-golden-'));
    try {
      for (const file of files) writeFileSync(join(originals, file), readFileSync(goldenFolder + file));
      expect(copyFaults(goldenFolder, originals)).toEqual([]);
      const [changed] = files;
      const bytes = readFileSync(join(originals, changed!));
      bytes[bytes.length - 1]! ^= 1;
      writeFileSync(join(originals, changed!), bytes);
      writeFileSync(join(originals, 'stray.safetensors'), '');
      expect(copyFaults(goldenFolder, originals)).toEqual([
        `${changed} differs`,
        'stray.safetensors is missing',
      ]);
    } finally {
      rmSync(originals, { recursive: true });
    }
  });
});
