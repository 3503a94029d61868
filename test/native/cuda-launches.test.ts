// Pins the tile and the number of blocks that our convolutions choose for a shape and a GPU, so that a
// change of them is noticed, and checks how many times the blocks fill the GPU.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeAll, describe, expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const temporary = temporaryFolder('cuda-launches');

interface Gpu {
  readonly multiprocessors: number;
  readonly capability: number;
}
const h100: Gpu = { multiprocessors: 132, capability: 90 };
const l4: Gpu = { multiprocessors: 58, capability: 89 };

/** Compiles cuda_launches.cc. Kernels are not run, so what they call need not be there. */
function compile(repository: string, program: string): void {
  const source = join(repository, 'test/native/cuda_launches.cc');
  const flags = [
    '-std=c++20',
    '-O0',
    '-x',
    'c++',
    '-Wno-unknown-pragmas',
    `-I${root}test/native/cuda_emulator`,
  ];
  const link = ['-no-pie', '-Wl,--unresolved-symbols=ignore-all'];
  const run = spawnSync('c++', [...flags, source, '-o', program, ...link], { encoding: 'utf8' });
  expect(run.status, run.stderr).toBe(0);
}

/** `1568 large, 3.96 waves`: blocks, tile, and how often they fill the GPU; one for each kernel. */
function launches(program: string, words: string, { multiprocessors, capability }: Gpu): string[] {
  const run = spawnSync(program, [...words.split(' '), String(multiprocessors), String(capability)], {
    encoding: 'utf8',
  });
  expect(run.status, run.stderr).toBe(0);
  return run.stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [blocks, , bytes, atOnce] = line.split(' ').map(Number) as [number, number, number, number];
      const tile = bytes >= 50_000 ? 'large' : bytes >= 30_000 ? 'small' : 'plain';
      return `${blocks} ${tile}, ${(blocks / (multiprocessors * atOnce)).toFixed(2)} waves`;
    });
}

/** OP PRECISION N H W C K KERNEL_SIZE, on an H100 and on an L4. */
const choices: readonly (readonly [string, string, string])[] = [
  // The model of the README in training: hidden layers, the first one, the head.
  ['forward bf16 64 28 28 64 64 7', '392 large, 0.99 waves', '392 large, 6.76 waves'],
  ['forward bf16 256 28 28 64 64 7', '1568 large, 3.96 waves', '1568 large, 27.03 waves'],
  ['forward bf16 1024 28 28 64 64 7', '6272 large, 15.84 waves', '6272 large, 108.14 waves'],
  ['forward f32 256 28 28 64 64 7', '1568 large, 3.96 waves', '1568 large, 27.03 waves'],
  ['forward bf16 16 28 28 64 64 7', '98 large, 0.25 waves', '98 large, 1.69 waves'],
  ['forward bf16 1 28 28 64 64 7', '50 small, 0.06 waves', '50 small, 0.43 waves'],
  ['forward bf16 256 28 28 1 64 7', '1568 large, 3.96 waves', '1568 large, 27.03 waves'],
  ['forward bf16 256 28 28 64 256 1', '6272 large, 15.84 waves', '6272 large, 108.14 waves'],
  ['forward bf16 256 28 28 64 32 7', '1568 large, 3.96 waves', '1568 large, 27.03 waves'],
  ['backwardInput bf16 64 28 28 64 64 7', '392 large, 0.99 waves', '392 large, 6.76 waves'],
  ['backwardInput bf16 256 28 28 64 64 7', '1568 large, 3.96 waves', '1568 large, 27.03 waves'],
  ['backwardInput bf16 256 28 28 64 256 1', '1568 large, 3.96 waves', '1568 large, 27.03 waves'],
  // The parts of a gradient follow from the shape: an H100 has room for all of their blocks at once.
  ['backwardWeight bf16 1 28 28 64 64 7', '169 large, 0.32 waves', '169 large, 2.91 waves'],
  ['backwardWeight bf16 64 28 28 64 64 7', '520 large, 0.98 waves', '520 large, 8.97 waves'],
  ['backwardWeight bf16 256 28 28 64 64 7', '520 large, 0.98 waves', '520 large, 8.97 waves'],
  ['backwardWeight bf16 1024 28 28 64 64 7', '520 large, 0.98 waves', '520 large, 8.97 waves'],
  ['backwardWeight bf16 256 28 28 1 64 7', '262 small, 0.40 waves', '262 small, 2.26 waves'],
  ['backwardWeight bf16 256 28 28 64 256 1', '524 large, 0.99 waves', '524 large, 9.03 waves'],
  // Sampling: the longest front of a batch.
  ['front bf16 1 28 28 64 64 7', '2 small, 0.00 waves', '2 small, 0.02 waves'],
  ['front bf16 16 28 28 64 64 7', '8 small, 0.01 waves', '8 small, 0.07 waves'],
  ['front bf16 256 28 28 64 64 7', '112 small, 0.14 waves', '14 large, 0.24 waves'],
  ['front bf16 512 28 28 64 64 7', '224 small, 0.28 waves', '28 large, 0.48 waves'],
  ['front bf16 1024 28 28 64 64 7', '56 large, 0.14 waves', '56 large, 0.97 waves'],
  ['front bf16 2048 28 28 64 64 7', '112 large, 0.28 waves', '112 large, 1.93 waves'],
  ['front bf16 4096 28 28 64 64 7', '224 large, 0.57 waves', '224 large, 3.86 waves'],
  ['sample bf16 1 28 28 64 256 7', '1 large, 0.00 waves', '1 large, 0.02 waves'],
  ['sample bf16 256 28 28 64 256 7', '112 large, 0.28 waves', '112 large, 1.93 waves'],
  ['sample bf16 4096 28 28 64 256 7', '1792 large, 4.53 waves', '1792 large, 30.90 waves'],
];

/** What the model behind the choice finds for a tile. */
interface Cost {
  readonly blocks: number;
  readonly waves: number;
  readonly l2Bytes: number;
  readonly clocks: number;
}

/** Of PRECISION N H W C K KERNEL_SIZE on a GPU of so many multiprocessors. */
function costs(program: string, words: string, multiprocessors: number): { large: Cost; small: Cost } {
  const run = spawnSync(program, ['cost', ...words.split(' '), String(multiprocessors), '90'], {
    encoding: 'utf8',
  });
  expect(run.status, run.stderr).toBe(0);
  const [large, small] = run.stdout
    .trim()
    .split('\n')
    .map((line) => {
      const [blocks, waves, l2Bytes, clocks] = line.split(' ').map(Number) as [
        number,
        number,
        number,
        number,
      ];
      return { blocks, waves, l2Bytes, clocks };
    });
  return { large: large!, small: small! };
}

/** Shape, multiprocessors; blocks, waves and megabytes through L2 of the tile that is chosen. */
const costTable: readonly (readonly [string, number, string])[] = [
  ['bf16 256 28 28 64 64 7', 132, 'large: 1568 blocks, 4 waves, 963.4 MB'], // the review's number
  ['bf16 256 28 28 64 64 7', 58, 'large: 1568 blocks, 10 waves, 963.4 MB'],
  ['bf16 256 28 28 64 256 1', 132, 'large: 6272 blocks, 16 waves, 154.1 MB'],
  ['bf16 4096 1 7 64 64 7', 132, 'large: 224 blocks, 1 waves, 137.6 MB'],
  ['bf16 2048 1 7 64 64 7', 132, 'large: 112 blocks, 1 waves, 68.8 MB'],
  ['bf16 512 1 7 64 64 7', 132, 'small: 224 blocks, 1 waves, 45.9 MB'],
  ['bf16 512 1 7 64 64 7', 58, 'large: 28 blocks, 1 waves, 17.2 MB'],
  ['bf16 16 1 7 64 64 7', 132, 'small: 8 blocks, 1 waves, 1.5 MB'],
  ['f32 16 1 7 64 64 7', 132, 'small: 8 blocks, 1 waves, 3.1 MB'],
];

describe('what our convolutions launch', () => {
  const program = join(temporary, 'launches');
  beforeAll(() => compile(root, program), 120_000);

  it.each(choices)('%s: %s', (words, onH100, onL4) => {
    expect(launches(program, words, h100)[0]).toBe(onH100);
    expect(launches(program, words, l4)[0]).toBe(onL4);
  });

  it('for the gradient of a bias: nothing besides, but in tf32 sums of parts, then the sum of these', () => {
    expect(launches(program, 'backwardWeight bf16 256 28 28 64 64 7', h100)).toHaveLength(1);
    expect(launches(program, 'backwardWeight tf32 256 28 28 64 64 7', h100).slice(1)).toEqual([
      '524 plain, 0.50 waves',
      '2 plain, 0.00 waves',
    ]);
  });

  it.each(costTable)('the cost of %s on %i multiprocessors: %s', (words, multiprocessors, expected) => {
    const both = costs(program, words, multiprocessors);
    const name = both.large.clocks <= both.small.clocks ? 'large' : 'small';
    const { blocks, waves, l2Bytes } = both[name];
    const megabytes = (l2Bytes / 1e6).toFixed(1);
    expect(`${name}: ${blocks} blocks, ${waves} waves, ${megabytes} MB`).toBe(expected);
  });

  it('predictions are made for the tiles that are chosen', async () => {
    const folder = `${root}scripts/gpu-acceptance/`;
    const { convolve } = await import(`${folder}product-costs.mjs`);
    const model = await import(`${folder}gpu-model.mjs`);
    const rows = choices.filter(([words]) => /^(forward|backwardInput|front) bf16/.test(words));
    expect(rows.length).toBeGreaterThan(12);
    for (const [words, onH100] of rows) {
      const [op, , ...numbers] = words.split(' ');
      const [n, h, w, c, k, kernelSize] = numbers.map(Number) as [
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      const radius = (kernelSize - 1) / 2;
      const shape = { taps: radius * kernelSize + radius + 1, columns: kernelSize, front: op === 'front' };
      // A front of 28 x 28 has 7 rows at most. Backward, the channels change places.
      const pixels = n * (op === 'front' ? 7 : h * w);
      const channels = op === 'backwardInput' ? { c: k, k: c, backward: true } : { c, k };
      const { sharedBytes } = convolve({ pixels, ...shape, ...channels }, model.h100);
      expect(`${words}: ${sharedBytes > 50_000 ? 'large' : 'small'}`).toBe(
        `${words}: ${onH100.split(/[ ,]/)[1]}`,
      );
    }
  });

  it('costs grow with the pixels, and never with the multiprocessors', () => {
    for (const tile of ['large', 'small'] as const) {
      const clocks = (images: number, multiprocessors: number) =>
        costs(program, `bf16 ${images} 28 28 64 64 7`, multiprocessors)[tile].clocks;
      const byImages = [1, 4, 16, 64, 256].map((images) => clocks(images, 132));
      expect(byImages).toEqual(byImages.toSorted((a, b) => a - b));
      const byGpu = [16, 58, 108, 132, 144].map((multiprocessors) => clocks(64, multiprocessors));
      expect(byGpu).toEqual(byGpu.toSorted((a, b) => b - a));
    }
  });

  it.each([
    ['tile_choice.h', 'kL2Bytes = 24;', 'kL2Bytes = 2;', 'front bf16 512 28 28 64 64 7'],
    [
      'masked_conv2d_gradient.cu',
      'kLargeBlocks = 4,',
      'kLargeBlocks = 3,',
      'backwardWeight bf16 256 28 28 64 64 7',
    ],
  ])('planted: another choice in %s', (file, text, other, words) => {
    const repository = join(temporary, file);
    mkdirSync(join(repository, 'test/native'), { recursive: true });
    symlinkSync(join(root, 'native'), join(repository, 'native'));
    for (const name of ['cuda', 'test/native/cuda_launches.cc'])
      cpSync(join(root, name), join(repository, name), { recursive: true });
    const before = readFileSync(join(root, 'cuda', file), 'utf8');
    expect(before.split(text), 'mend the planted fault').toHaveLength(2);
    writeFileSync(join(repository, 'cuda', file), before.replace(text, other));
    compile(repository, join(repository, 'launches'));
    const expected = choices.find(([of]) => of === words)?.[1];
    expect(expected).toBeDefined();
    expect(launches(join(repository, 'launches'), words, h100)[0]).not.toBe(expected);
  });
});
