// Tests training, sampling and checkpoints on a GPU whose streams do their work at random later times: the bits are
// the same as where all is done at once, and differ where the backend is made to wait too little.
import { mkdtempSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runChild } from '../helpers/child.js';
import { realGpu } from '../helpers/cuda.js';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const build = fileURLToPath(new URL('../../build/', import.meta.url));
const folder = temporaryFolder('deferred');
const seeds = [1, 2, 3, 4];

interface Run {
  readonly library?: string;
  readonly precision?: string;
  readonly variables?: Readonly<Record<string, string>>;
}

/** What children/train.mjs reports; its errors are a report, too. */
async function train({ library = 'plain', precision = 'bf16', variables = {} }: Run): Promise<string> {
  const checkpoints = mkdtempSync(path.join(folder, 'checkpoints-'));
  const { stdout, stderr, code } = await runChild('cuda/children/train.mjs', {
    args: [checkpoints, JSON.stringify({ precision })],
    env: { PIXELCNN_CUDA_LIBRARY: `${build}libpixelcnn_cuda_emulated_${library}.so`, ...variables },
  });
  return code === 0 ? stdout : stderr;
}

const deferred = (seed: number) => ({ PIXELCNN_EMULATOR_DEFERRED: String(seed) });

const reason = realGpu ? 'a real GPU cannot be told when to work' : undefined;
describe.skipIf(skipAloud('the deferred mode of the emulator', reason))('work done later', () => {
  it.each([
    { precision: 'f32', graphs: '1' },
    { precision: 'bf16', graphs: '1' },
    { precision: 'bf16', graphs: '0' },
  ])('gives the same bits: %o', { timeout: 120_000 }, async ({ precision, graphs }) => {
    const variables = { PIXELCNN_GRAPHS: graphs };
    const expected = await train({ precision, variables });
    const { losses, samples, checkpoints, quantised } = JSON.parse(expected);
    const counts = [losses, samples, Object.keys(checkpoints), quantised].map(({ length }) => length);
    expect(counts).toEqual([21, 6, 6, 80]);
    for (const seed of seeds) {
      const report = await train({ precision, variables: { ...variables, ...deferred(seed) } });
      expect(report, `seed ${seed}`).toBe(expected);
    }
  });

  it.each(['staging-reused-at-once', 'no-wait-for-the-fence'])(
    'finds %s, which is not seen without',
    {
      timeout: 120_000,
    },
    async (library) => {
      const expected = await train({});
      expect(await train({ library })).toBe(expected);
      const reports = await Promise.all(
        seeds.slice(0, 2).map((seed) => train({ library, variables: deferred(seed) })),
      );
      for (const report of reports) expect(report).not.toBe(expected);
    },
  );
});
