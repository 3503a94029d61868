// Tests scripts/gpu-acceptance/quality.mjs on the CPU: a model in the time given, its result, and what a kill
// leaves.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { loadImages } from '../../src/data/load-images.js';
import { openDevice } from '../../src/device/device.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { evaluate } from '../../src/train/evaluate.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const script = `${root}scripts/gpu-acceptance/quality.mjs`;
const folder = temporaryFolder('acceptance-quality');
const { waves } = await import(`${root}scripts/gpu-acceptance/waves.mjs`);
const side = 8;

/** A folder with training and test images as MNIST has them. */
function imageFolder(): string {
  const path = join(folder, 'images');
  mkdirSync(path);
  for (const [name, count, seed] of [
    ['train-images-idx3-ubyte', 400, 1],
    ['t10k-images-idx3-ubyte', 60, 2],
  ] as const) {
    const header = Buffer.from([0, 0, 8, 3, ...[count, side, side].flatMap((n) => [0, 0, n >> 8, n & 255])]);
    writeFileSync(join(path, name), Buffer.concat([header, waves(count, side, side, 1, seed).data]));
  }
  return path;
}

const images = imageFolder();
const argumentsFor = (out: string, minutes: number) => [
  ...[script, '--device', 'cpu', '--preset', 'mnist-demo', '--data', images],
  ...['--minutes', String(minutes), '--out', out],
];
const run = (args: string[]) => spawnSync(process.execPath, args, { encoding: 'utf8' });
const linesOf = (out: string) =>
  readFileSync(join(out, 'steps.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('quality.mjs', () => {
  it('trains for the time given, scores the test images and leaves the model', {
    timeout: 120_000,
  }, async () => {
    const out = join(folder, 'whole');
    const start = performance.now();
    const { status, stderr, stdout } = run(argumentsFor(out, 0.15));
    expect(status, stderr).toBe(0);
    const seconds = (performance.now() - start) / 1000;
    expect(seconds).toBeGreaterThan(3);
    expect(seconds).toBeLessThan(30);
    const result = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'));
    expect(JSON.parse(stdout).test.nats).toBe(result.test.nats);
    expect(result).toMatchObject({
      preset: 'mnist-demo',
      protocol: 'threshold',
      weights: 'ema',
      split: { training: 392, validation: 8, test: 60 },
      batch: 16,
      device: { backend: 'cpu', precision: 'f32' },
      test: { images: 60, protocol: 'threshold', weights: 'ema' },
      commit: expect.stringMatching(/^[0-9a-f]{40}/),
    });
    // The schedule is scaled to the run: warm-up and averaging take a tenth of it at most.
    expect(result.schedule).toMatchObject({
      learningRate: 3e-3,
      schedule: 'cosine',
      steps: result.plannedSteps,
    });
    // A share of the run, so that it scales with the time given.
    expect(result.schedule.warmupSteps).toBe(100 / 2600);
    expect(result.steps).toBeGreaterThan(result.plannedSteps / 2);
    const lines = linesOf(out);
    expect(lines.filter(({ type }) => type === 'step').length).toBeGreaterThan(10);
    expect(lines.filter(({ type }) => type === 'validation').length).toBeGreaterThan(0);
    expect(existsSync(join(out, 'checkpoints'))).toBe(false);

    await using device = await openDevice({ backend: 'cpu' });
    const model = await PixelCNN.load(device, join(out, 'model.safetensors'));
    const test = await loadImages({ path: images, split: 'test' });
    const { nats } = await evaluate(model, test, { protocol: 'threshold' });
    expect(nats).toBeCloseTo(result.test.nats, 6);
    // Much better than chance.
    expect(nats).toBeLessThan(0.7 * side * side * Math.LN2);

    const again = run(argumentsFor(out, 0.1));
    expect(again.status).toBe(1);
    expect(again.stderr).toContain('already holds a run');
  });

  it('leaves its log and a checkpoint when it is killed', { timeout: 120_000 }, async () => {
    const out = join(folder, 'killed');
    const process_ = spawn(process.execPath, argumentsFor(out, 10), { stdio: 'ignore' });
    const saved = () => {
      const checkpoints = join(out, 'checkpoints');
      return existsSync(checkpoints)
        ? readdirSync(checkpoints).filter((name) => /^step-\d+\.safetensors$/.test(name))
        : [];
    };
    await expect.poll(() => saved().length, { timeout: 100_000, interval: 200 }).toBeGreaterThan(0);
    process_.kill('SIGKILL');
    await new Promise((resolve) => process_.on('exit', resolve));
    expect(linesOf(out).at(-1).step).toBeGreaterThan(0);
    await using device = await openDevice({ backend: 'cpu' });
    const model = await PixelCNN.load(device, join(out, 'checkpoints', saved()[0]!));
    expect(model.config).toMatchObject({ hiddenChannels: 32, levels: 2 });
    expect(existsSync(join(out, 'result.json'))).toBe(false);
  });

  it('says what it can do, and what it cannot', () => {
    expect(run([script, '--help']).stdout).toMatch(/^\/\/ Trains a preset.*--preset NAME/s);
    const refused = (...args: string[]) => {
      const { status, stderr } = run([script, '--device', 'cpu', ...args]);
      expect(stderr).not.toMatch(/\n\s+at /);
      return `${status} ${stderr.trim()}`;
    };
    expect(refused()).toMatch(/^1 --minutes must be a number above 0/);
    expect(refused('--minutes', '1', '--preset', 'imagenet')).toMatch(
      /^1 unknown preset 'imagenet': expected one of/,
    );
    expect(refused('--minutes', '1', '--batch', '1.5')).toMatch(/^1 --batch must be a whole number/);
    expect(refused('--minutes', '1', '--preset', 'cifar10')).toMatch(
      /^1 This preset has no images of its own/,
    );
    expect(refused('--minutes', '1', '--data', '/nonexistent')).toMatch(
      /^1 no such file, folder or data set/,
    );
    expect(refused('--minutes', '1', '--device', 'tpu')).toMatch(/^1 --device must be cuda or cpu/);
    expect(refused('--hours', '1')).toMatch(/^1 Unknown option '--hours'/);
  });
});
