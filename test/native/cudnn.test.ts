// cuDNN without a GPU: finding it and trying it. Its plans: cudnn-plans.slow.test.ts.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { emptyFolder, fakeCudnn, notBuilt, run } from './cudnn-programs.js';

describe.skipIf(skipAloud('the search for cuDNN', notBuilt))(
  'the search for cuDNN',
  { timeout: 60_000 },
  () => {
    it('refuses what is missing, damaged, old or ends its process; reads and writes choices', async () => {
      const { code, output } = await run('cudnn_loader_test', [fakeCudnn, emptyFolder()]);
      expect(output).toMatch(/^\d{3} passed, 0 failed\n$/);
      expect(code).toBe(0);
    });

    it('looks into the wheels of the active Python', async () => {
      const { output } = await run('cudnn_loader_test', [fakeCudnn, emptyFolder(), 'wheels']);
      expect(output).toBe('1 passed, 0 failed\n');
    });

    it('reports where it looked and what to do', async () => {
      const { output } = await run('cudnn_loader_test', [fakeCudnn, emptyFolder(), 'report']);
      expect(output).toBe('3 passed, 0 failed\n');
    });

    it("looks along the loader's path", async () => {
      const folder = emptyFolder();
      mkdirSync(join(folder, 'lib'));
      const env = { LD_LIBRARY_PATH: join(folder, 'lib') };
      const { output } = await run('cudnn_loader_test', [fakeCudnn, folder, 'loader-path'], env);
      expect(output).toBe('1 passed, 0 failed\n');
    });
  },
);
