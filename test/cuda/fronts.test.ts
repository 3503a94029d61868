// Tests the program of all fronts of a batch, which a GPU runs as one graph: it gives the bits of single fronts in
// one launch.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { precisions } from '../../src/device/precision.js';
import { frontSteps } from '../../src/program/front.js';
import { buildSampler } from '../../src/sample/front-sampler.js';
import { passesOf } from '../../src/sample/passes.js';
import { runChild } from '../helpers/child.js';
import { expectSameBits } from '../helpers/close.js';
import { emulatedLibrary, openGpu, realGpu } from '../helpers/cuda.js';
import { drawWithLogits } from '../helpers/draw.mjs';
import { randomModel } from '../helpers/models.js';
import { withSeed } from '../helpers/random.js';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const library = { buildSampler, passesOf, frontSteps };
const build = fileURLToPath(new URL('../../build/', import.meta.url));
const folder = temporaryFolder('fronts');

describe.each(precisions)('a block of fronts in %s', (precision) => {
  it('draws the bits that single fronts draw, with graphs and without, 8 networks', {
    timeout: 120_000,
  }, async () => {
    await using graphs = await openGpu({ precision });
    await using opByOp = await openGpu({ precision }, { PIXELCNN_GRAPHS: '0' });
    expect([graphs.info.graphs, opByOp.info.graphs]).toEqual(['graphs', 'op by op: PIXELCNN_GRAPHS=0']);
    await withSeed(91, async (random, at) => {
      for (let index = 0; index < 8; index += 1) {
        const channels = [1, 3][index % 2]!;
        const options = {
          channels,
          hiddenChannels: channels + random.int(0, 12),
          layers: random.int(2, 4),
          levels: [2, 256, 5][index % 3]!,
          kernelSize: random.pick([1, 3, 5, 7]),
        };
        const size = { count: random.int(1, 3), height: random.int(1, 6), width: random.int(1, 6) };
        at(`case ${index}: ${JSON.stringify({ ...options, ...size })}`);
        const given = { index: Uint32Array.from({ length: size.count }, () => random.word()) };
        const drawn = [];
        for (const device of [graphs, opByOp]) {
          const model = await randomModel(device, options, index, 1.5);
          for (const program of ['front', 'block'] as const)
            drawn.push(await drawWithLogits(library, model, { ...size, program }, given));
          await model.dispose();
        }
        for (const { level, logits } of drawn.slice(1)) {
          expect(level).toEqual(drawn[0]!.level);
          expectSameBits('logits', logits, drawn[0]!.logits);
        }
      }
    });
  });
});

it('images whose fronts do not fit one block are drawn by several', { timeout: 60_000 }, async () => {
  await using device = await openGpu();
  const config = { channels: 3, hiddenChannels: 3, layers: 15, levels: 2, kernelSize: 1 };
  const model = await randomModel(device, config, 1, 1.5);
  const size = { count: 1, height: 1, width: 190 };
  const internals = model.internals();
  const sampler = await buildSampler(internals, { ...size, n: 1, weights: 'raw' });
  // Of 8192 ops, 45 a front.
  expect(sampler.block).toBe(183);
  sampler.dispose();
  const [fronts, blocks] = [
    await drawWithLogits(library, model, { ...size, program: 'front' }),
    await drawWithLogits(library, model, { ...size, program: 'block' }),
  ];
  expect(blocks!.level).toEqual(fronts!.level);
  expectSameBits('logits', blocks!.logits, fronts!.logits);
});

interface Report {
  readonly steps: number;
  readonly opsPerFront: number;
  /** Digests of what single fronts and blocks draw. */
  readonly front: string;
  readonly block: string;
  readonly batches: readonly string[];
  readonly calls: readonly { readonly drawn: string; readonly launches: readonly string[] }[];
}

/** What children/fronts.mjs reports. */
async function drawInChild(
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<Report> {
  const { stdout, stderr, code } = await runChild('cuda/children/fronts.mjs', {
    args,
    env: { PIXELCNN_CUDA_LIBRARY: emulatedLibrary, ...variables },
    timeout: 100_000,
  });
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

function drawAgain(graphs: '0' | '1'): Promise<Report> {
  const log = path.join(folder, `launches-${graphs}`);
  return drawInChild([log], { PIXELCNN_EMULATOR_LOG: log, PIXELCNN_GRAPHS: graphs });
}

const reason = realGpu ? 'a real GPU does not tell what was launched' : undefined;
describe.skipIf(skipAloud('launches of the sampler', reason))('the same batch drawn again and again', () => {
  it('is one launch of a graph with all of its fronts, and the images stay the same', {
    timeout: 120_000,
  }, async () => {
    const { steps, opsPerFront, calls } = await drawAgain('1');
    expect(new Set(calls.map(({ drawn }) => drawn)).size).toBe(1);
    const graphs = calls.map(({ launches }) => launches.filter((line) => line.startsWith('graph ')));
    // The step is the last kernel. What begins a batch is another graph.
    const fronts = `graph ${steps * opsPerFront + 1}`;
    for (const call of [3, 4, 5]) {
      expect(graphs[call]!.filter((line) => line === fronts)).toEqual([fronts]);
      expect(graphs[call], 'and one begins the batch').toHaveLength(2);
      expect(calls[call]!.launches, 'with nothing beside them').toHaveLength(2);
    }
    // Where graphs are off, the same kernels one by one.
    const opByOp = await drawAgain('0');
    expect(opByOp.calls.map(({ drawn }) => drawn)).toEqual(calls.map(({ drawn }) => drawn));
    const kernels = opByOp.calls[5]!.launches;
    expect(kernels.some((line) => line.startsWith('graph '))).toBe(false);
    expect(kernels.filter((name) => name.includes('next_front'))).toHaveLength(1);
    expect(kernels.filter((name) => name.includes('sample_front'))).toHaveLength(steps);
  });

  it('has the same bits where streams do their work later, with two batches at a time', {
    timeout: 120_000,
  }, async () => {
    const { front, block, batches } = await drawInChild([]);
    expect(block).toBe(front);
    expect(new Set(batches).size).toBe(1);
    for (const seed of [1, 2, 3, 4]) {
      const later = await drawInChild([], { PIXELCNN_EMULATOR_DEFERRED: String(seed) });
      expect(later, `seed ${seed}`).toMatchObject({ front, block, batches });
    }
  });

  it('is not what single fronts draw where the library skips a front of the graph', async () => {
    const bug = `${build}libpixelcnn_cuda_emulated_front-skipped-in-the-graph.so`;
    const [right, wrong] = [await drawInChild([]), await drawInChild([], { PIXELCNN_CUDA_LIBRARY: bug })];
    expect(right.block).toBe(right.front);
    expect(wrong.front).toBe(right.front);
    expect(wrong.block).not.toBe(right.block);
  });
});
