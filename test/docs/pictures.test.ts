// Tests that the pictures of the pretrained models in the documentation are what the commands beside them make.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { decodePng, openDevice } from '../../src/index.js';
import { testFolder } from '../cli/run-cli.js';
import { skipAloud } from '../helpers/skip.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { run, path } = testFolder();
const device = await openDevice({ backend: 'cpu' });
const { instructionSet } = device.info;
await device.dispose();
/** The pictures were drawn with these kernels; others may add in another order and draw another pixel now and then. */
const drawnWith = 'avx512';
const otherKernels =
  instructionSet === drawnWith
    ? undefined
    : `they were drawn with ${drawnWith}, this machine has ${instructionSet}`;

const pictures = [
  ['README.md', 'digits.png'],
  ['README.md', 'completed.png'],
  ['models/README.md', 'clothes.png'],
] as const;

/** The command in a page that writes the picture. */
function commandFor(page: string, picture: string): string[] {
  const text = readFileSync(`${root}${page}`, 'utf8');
  expect(text).toContain(`docs/${picture})`);
  const found = new RegExp(
    `npx pixelcnn ((?:sample|complete) [^\`\\n]*--seed [^\`\\n]*--out ${picture})`,
  ).exec(text);
  if (found === null) throw new Error(`${page} has no command with a seed that writes ${picture}`);
  return found[1]!.split(' ');
}

async function drawn(args: readonly string[], picture: string) {
  const { code, stderr } = await run([...args, '--device', 'cpu']);
  if (code !== 0) throw new Error(stderr);
  return decodePng(readFileSync(path(picture)));
}

describe.skipIf(skipAloud('the pictures of the documentation', otherKernels))('pictures', () => {
  it.each(pictures)('%s: %s', async (page, picture) => {
    const args = commandFor(page, picture);
    const shown = decodePng(readFileSync(`${root}docs/${picture}`));
    const same = await drawn(args, picture);
    expect([same.width, same.height, same.channels]).toEqual([shown.width, shown.height, shown.channels]);
    expect(Buffer.compare(same.data, shown.data)).toBe(0);
    // Planted: another seed draws another picture.
    const seed = args.indexOf('--seed') + 1;
    const reseeded = await drawn(args.with(seed, '99'), picture);
    expect(Buffer.compare(reseeded.data, shown.data)).not.toBe(0);
  });
});
