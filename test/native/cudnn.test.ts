// Tests how cuDNN is found and tried, without a GPU. Its plans are tested in cudnn-plans.slow.test.ts.
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { emptyFolder, fakeCudnn, notBuilt, root, run } from './cudnn-programs.js';

const cudnnFiles = [
  'libcudnn.so.9',
  'libcudnn_graph.so.9',
  'libcudnn_engines_precompiled.so.9',
  'libcudnn_engines_runtime_compiled.so.9',
  'libcudnn_heuristic.so.9',
  'libcublasLt.so.13',
];

/** The processes that wrote a line that begins so. */
function processes(log: string, call: string): string[] {
  const lines = readFileSync(log, 'utf8').trim().split('\n');
  return [...new Set(lines.filter((line) => line.startsWith(`${call} `)))];
}

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

    it('looks into the wheels of a virtual environment that is only on the PATH', async () => {
      const folder = emptyFolder();
      const venv = spawnSync('python3', ['-m', 'venv', '--without-pip', folder], { encoding: 'utf8' });
      expect(venv.status, venv.stderr).toBe(0);
      const env = { PATH: `${join(folder, 'bin')}:${process.env.PATH}` };
      const { output } = await run('cudnn_loader_test', [fakeCudnn, folder, 'environment'], env);
      expect(output).toBe('1 passed, 0 failed\n');
    });

    it.each(['works', 'hangs'])(
      'is not tried in a child of a process that uses CUDA, where the driver does not work: it %s',
      async (driver) => {
        const env = { FAKE_DRIVER: driver };
        const { output } = await run('cudnn_loader_test', [fakeCudnn, emptyFolder(), 'after-cuda'], env);
        expect(output).toBe('4 passed, 0 failed\n');
      },
    );

    it('is not tried where PIXELCNN_CUDNN_TRIAL is 0', async () => {
      const folder = emptyFolder();
      const env = { FAKE_LOG: join(folder, 'log') };
      const { output } = await run('cudnn_loader_test', [fakeCudnn, folder, 'no-trial'], env);
      expect(output).toBe('11 passed, 0 failed\n');
      expect(processes(env.FAKE_LOG, 'cudnn')).toHaveLength(1);
    });

    it('is tried before a device that opens uses CUDA', async () => {
      const folder = emptyFolder();
      for (const file of cudnnFiles) copyFileSync(fakeCudnn, join(folder, file));
      const log = join(folder, 'log');
      const child = spawnSync('node', ['test/cuda/children/device.mjs', '{}'], {
        cwd: root,
        encoding: 'utf8',
        env: {
          ...process.env,
          PIXELCNN_CUDA_LIBRARY: join(root, 'build/Release/libpixelcnn_cuda.so'),
          PIXELCNN_CUDNN: folder,
          LD_LIBRARY_PATH: join(root, 'build/driver-standin'),
          FAKE_LOG: log,
        },
      });
      // The stand-in has no GPU: whoever asks CUDA first never comes to cuDNN.
      expect(JSON.parse(child.stdout).error).toMatchObject({ code: 'ERR_BACKEND_UNAVAILABLE' });
      const lines = readFileSync(log, 'utf8').trim().split('\n');
      expect(lines).toEqual([expect.stringMatching(/^cudnn \d+$/), `cudnn ${child.pid}`]);
      expect(lines[0], 'a child tries it').not.toBe(lines[1]);
    });

    it('reports where it looked and what to do', async () => {
      const { output } = await run('cudnn_loader_test', [fakeCudnn, emptyFolder(), 'report']);
      expect(output).toBe('3 passed, 0 failed\n');
    });

    it.each(['1', '0'])("looks along the loader's path, with PIXELCNN_CUDNN_TRIAL=%s", async (trial) => {
      const folder = emptyFolder();
      mkdirSync(join(folder, 'lib'));
      const env = { LD_LIBRARY_PATH: join(folder, 'lib'), PIXELCNN_CUDNN_TRIAL: trial };
      const { output } = await run('cudnn_loader_test', [fakeCudnn, folder, 'loader-path'], env);
      expect(output).toBe('1 passed, 0 failed\n');
    });
  },
);
