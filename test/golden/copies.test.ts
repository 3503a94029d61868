// Tests that test/golden holds the files of ../shared/oracle up to 1 MB, byte for byte, so that a clone needs no
// other folder.
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { withBitFlipped } from '../helpers/damage.js';
import { GoldenFile, goldenFolder, oracleFolder } from '../helpers/golden-files.js';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const largest = 1e6;
const files = readdirSync(goldenFolder).filter((file) => file.endsWith('.safetensors'));

/** What is wrong with `copies` as copies of the files of `originals` up to 1 MB. */
function copyFaults(copies: string, originals: string): string[] {
  const wanted = readdirSync(originals, { withFileTypes: true })
    .filter((entry) => entry.isFile() && statSync(join(originals, entry.name)).size <= largest)
    .map(({ name }) => name);
  const faults = wanted.flatMap((file) => {
    if (!existsSync(join(copies, file))) return [`${file} is missing`];
    const same = readFileSync(join(copies, file)).equals(readFileSync(join(originals, file)));
    return same ? [] : [`${file} differs`];
  });
  const surplus = readdirSync(copies).filter((file) => !file.endsWith('.ts') && !wanted.includes(file));
  return [...faults, ...surplus.map((file) => `${file} is no copy`)];
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

  it('would notice a copy that is missing, was changed, or is none', () => {
    const [originals, copies] = [temporaryFolder('originals'), temporaryFolder('copies')];
    for (const file of files.slice(0, 3)) {
      for (const folder of [originals, copies]) copyFileSync(goldenFolder + file, join(folder, file));
    }
    expect(copyFaults(copies, originals)).toEqual([]);
    const [changed, missing, surplus] = files as [string, string, string];
    const bytes = readFileSync(join(copies, changed));
    writeFileSync(join(copies, changed), withBitFlipped(bytes, 8 * bytes.length - 1));
    rmSync(join(copies, missing));
    rmSync(join(originals, surplus));
    const expected = [`${changed} differs`, `${missing} is missing`, `${surplus} is no copy`];
    expect(copyFaults(copies, originals)).toEqual(expected);
  });
});
