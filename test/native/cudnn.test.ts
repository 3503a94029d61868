// cuDNN without a GPU: finding and trying it, and plans for every graph of a model on the GPUs that are in use.
import { execFile } from 'node:child_process';
import { copyFileSync, existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const build = join(root, 'build');
const fake = join(build, 'libcudnn_fake.so');
const fetched = join(root, '.cuda', 'nvidia', 'cudnn', 'lib');
const cudnn = process.env.PIXELCNN_CUDNN ?? fetched;
const folders: string[] = [];

function emptyFolder(parent = tmpdir()): string {
  const folder = mkdtempSync(join(parent, 'pixelcnn-cudnn-'));
  folders.push(folder);
  return folder;
}

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

interface Run {
  /** Exit code, or the signal that ended it. */
  code: number | string;
  output: string;
}

/** Runs a test program with a stand-in for the driver, without settings of this machine. */
function run(program: string, args: string[], env: Record<string, string> = {}): Promise<Run> {
  const { VIRTUAL_ENV: _, CONDA_PREFIX: __, PIXELCNN_CUDNN: ___, ...inherited } = process.env;
  const options = {
    env: { ...inherited, LD_LIBRARY_PATH: join(build, 'driver-standin'), ...env },
    maxBuffer: 1 << 26,
  };
  return new Promise((resolve) => {
    execFile(join(build, program), args, options, (error, stdout, stderr) => {
      resolve({
        code: error === null ? 0 : (error.signal ?? error.code ?? 'unknown'),
        output: stdout + stderr,
      });
    });
  });
}

const plans = (gpu: string, ...args: string[]) =>
  run('cudnn_plans_test', [cudnn, join(root, 'test/native/cudnn_profiles', `${gpu}.json`), ...args]);

function missing(): string | undefined {
  if (!existsSync(join(build, 'cudnn_plans_test'))) {
    return 'no nvcc or cuDNN headers when this was built: node scripts/fetch-cuda.mjs, then node scripts/setup.mjs --tests';
  }
  return undefined;
}

const notBuilt = missing();
const noCudnn =
  notBuilt ??
  (existsSync(join(cudnn, 'libcudnn.so.9'))
    ? undefined
    : `no cuDNN in ${cudnn}: node scripts/fetch-cuda.mjs`);
if (notBuilt !== undefined) console.warn(`SKIPPED the search for cuDNN: ${notBuilt}`);
if (noCudnn !== undefined) console.warn(`SKIPPED plans of cuDNN: ${noCudnn}`);

describe.skipIf(notBuilt !== undefined)('the search for cuDNN', { timeout: 60_000 }, () => {
  it('refuses what is missing, damaged, old or ends its process; reads and writes choices', async () => {
    const { code, output } = await run('cudnn_loader_test', [fake, emptyFolder()]);
    expect(output).toMatch(/^\d{3} passed, 0 failed\n$/);
    expect(code).toBe(0);
  });

  it('looks into the wheels of the active Python', async () => {
    const { output } = await run('cudnn_loader_test', [fake, emptyFolder(), 'wheels']);
    expect(output).toBe('1 passed, 0 failed\n');
  });

  it('reports where it looked and what to do', async () => {
    const { output } = await run('cudnn_loader_test', [fake, emptyFolder(), 'report']);
    expect(output).toBe('3 passed, 0 failed\n');
  });

  it("looks along the loader's path", async () => {
    const folder = emptyFolder();
    mkdirSync(join(folder, 'lib'));
    const env = { LD_LIBRARY_PATH: join(folder, 'lib') };
    const { output } = await run('cudnn_loader_test', [fake, folder, 'loader-path'], env);
    expect(output).toBe('1 passed, 0 failed\n');
  });
});

describe.skipIf(noCudnn !== undefined)('plans of cuDNN without a device', { timeout: 600_000 }, () => {
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

  it.runIf(cudnn === fetched)('survives a libcudnn.so.9 without its siblings', async () => {
    const folder = emptyFolder();
    copyFileSync(join(cudnn, 'libcudnn.so.9'), join(folder, 'libcudnn.so.9'));
    const { code, output } = await run('cudnn_plans_test', [folder, '/dev/null', 'cropping']);
    expect(output).toContain('is missing beside');
    expect(code).toBe(3);
  });

  it.runIf(cudnn === fetched)('refuses a cuDNN that lacks any one of its files', async () => {
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
});
