// Tests cuDNN without a GPU: it makes plans for every graph of a model on the GPUs in use, and refuses an
// incomplete cuDNN.
import { copyFileSync, existsSync, linkSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { cudnn, emptyFolder, fakeCudnn, fetchedCudnn, notBuilt, root, run } from './cudnn-programs.js';

const plans = (gpu: string, ...args: string[]) =>
  run('cudnn_plans_test', [cudnn, join(root, 'test/native/cudnn_profiles', `${gpu}.json`), ...args]);

describe.skipIf(skipAloud('a cuDNN that hangs', notBuilt))('a cuDNN that hangs', () => {
  it('is given up after one trial', { timeout: 60_000 }, async () => {
    const folder = emptyFolder();
    const log = join(folder, 'log');
    const { output } = await run('cudnn_loader_test', [fakeCudnn, folder, 'hang'], { FAKE_LOG: log });
    expect(output).toBe('5 passed, 0 failed\n');
    expect(readFileSync(log, 'utf8')).toMatch(/^cudnn \d+\n$/);
  });
});

const noCudnn = existsSync(join(cudnn, 'libcudnn.so.9'))
  ? undefined
  : `no cuDNN in ${cudnn}: node scripts/build/fetch-cuda.mjs`;

describe.skipIf(skipAloud('plans of cuDNN', notBuilt ?? noCudnn))(
  'plans of cuDNN without a device',
  { timeout: 600_000 },
  () => {
    it.each([
      ['h100', ['bf16', 'f16', 'tf32', 'f32']],
      ['a100', ['bf16', 'f16', 'tf32', 'f32']],
      ['l4', ['bf16', 'f16', 'tf32', 'f32']],
      ['b200', ['bf16', 'f16', 'tf32', 'f32']],
      ['t4', ['f16', 'f32']],
    ])('every graph of a model on %s', async (gpu, precisions) => {
      const start = performance.now();
      const { code, output } = await plans(gpu, 'graphs', ...precisions);
      expect(output).not.toContain('FAILED');
      expect(output).toMatch(/\d+ passed, 0 failed\n$/);
      expect(code).toBe(0);
      const finalized = Number(/^(\d+) plans finalized$/m.exec(output)?.[1]);
      expect(finalized).toBeGreaterThan(15 * precisions.length);
      console.info(`${gpu}: ${finalized} plans in ${((performance.now() - start) / 1000).toFixed(0)} s`);
    });

    it('names a graph that has no plan', async () => {
      const { code, output } = await plans('t4', 'graphs', 'bf16');
      expect(output).toContain('FAILED bf16 forward+relu n=64 28x28 c=64 k=64 4x7: no plan');
      expect(code).toBe(1);
    });

    it('the cropped 7x7 filter gets engines on Hopper that the whole filter does not', async () => {
      const { output } = await plans('h100', 'cropping');
      expect(output).toMatch(/2 passed, 0 failed\n$/);
    });

    it('a GPU that gains nothing by cropping is noticed', async () => {
      const { output } = await plans('t4', 'cropping');
      expect(output).toContain('FAILED');
    });

    it('keeps choices on disk, passes damaged files over, excludes engines', async () => {
      const { code, output } = await plans('h100', 'cache', emptyFolder());
      expect(output).toBe('21 passed, 0 failed\n');
      expect(code).toBe(0);
    });

    it.runIf(cudnn === fetchedCudnn)('survives a libcudnn.so.9 without its siblings', async () => {
      const folder = emptyFolder();
      copyFileSync(join(cudnn, 'libcudnn.so.9'), join(folder, 'libcudnn.so.9'));
      const { code, output } = await run('cudnn_plans_test', [folder, '/dev/null', 'cropping']);
      expect(output).toContain('is missing beside');
      expect(code).toBe(3);
    });

    it.runIf(cudnn === fetchedCudnn)('refuses a cuDNN that lacks any one of its files', async () => {
      for (const left of readdirSync(cudnn).filter((name) =>
        /^libcudnn_(engines|graph|heuristic|ops)/.test(name),
      )) {
        // Links, not copies: a gigabyte. In .cuda/, since a link keeps to its file system.
        const base = emptyFolder(join(root, '.cuda'));
        const folder = join(base, 'nvidia', 'cudnn', 'lib');
        mkdirSync(folder, { recursive: true });
        mkdirSync(join(base, 'nvidia', 'cu13', 'lib'), { recursive: true });
        const cublas = join(dirname(dirname(cudnn)), 'cu13', 'lib', 'libcublasLt.so.13');
        linkSync(cublas, join(base, 'nvidia', 'cu13', 'lib', basename(cublas)));
        for (const name of readdirSync(cudnn))
          if (name !== left) linkSync(join(cudnn, name), join(folder, name));
        const { code, output } = await run('cudnn_plans_test', [folder, '/dev/null', 'cropping']);
        expect(output, left).toContain(left);
        expect(code, left).toBe(3);
      }
    });
  },
);
