// Tests the parts of scripts/bench: the check that PyTorch computes the same network, and the rates of single ops.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
import type { Device } from '../../src/device/device.js';
import { networkOf } from '../../src/models/architectures.js';
import type { PixelCnnOptions } from '../../src/models/config.js';
import type { NamedArrays } from '../../src/models/parameters.js';
import { countLiveWeights } from '../../src/ops/window.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { trainSchema } from '../../src/train/options.js';
import { TrainingStep } from '../../src/train/training-step.js';
import { testDevice } from '../helpers/models.js';
import { findTorch } from '../helpers/python.js';
import { skipAloud } from '../helpers/skip.js';

interface Request {
  readonly op: string;
  readonly file?: string;
  readonly precision?: string;
  readonly layout?: string;
  readonly n?: number;
}
interface Peer {
  readonly versions: { readonly torch: string; readonly threads: number };
  request(message: Request): Promise<{ readonly ms?: number; readonly nats?: readonly number[] }>;
  end(): void;
}
type Kind = Pick<Request, 'precision' | 'layout'>;
interface PeerModule {
  startPeer(python: string, threads: number): Promise<Peer>;
  checkSameNetwork(
    library: object,
    device: Device,
    options: PixelCnnOptions,
    peer: Pick<Peer, 'request'>,
    kinds: readonly Kind[],
  ): Promise<void>;
}
interface Op {
  readonly label: string;
  readonly op: string;
  readonly count: number;
  readonly milliseconds: number;
  readonly gflop: number;
}
interface RatesModule {
  traceOps(
    library: object,
    device: Device,
    options: PixelCnnOptions,
    how: { batch: number; side: number; repeats: number },
  ): Promise<{ forward: Op[]; training: Op[] }>;
  leastTimes(traces: readonly (readonly Pick<Op, 'label' | 'op' | 'milliseconds'>[])[]): Op[];
  withGflops(
    ops: readonly object[],
    gflops: readonly (readonly [string, number])[],
    headFactor: number,
  ): Op[];
  groupOps(ops: readonly Omit<Op, 'count'>[]): Op[];
  rateTable(title: string, ops: readonly Op[], peakGflops: number): string;
}
const scriptModule = (name: string) =>
  import(fileURLToPath(new URL(`../../scripts/bench/${name}`, import.meta.url)));

const torch = findTorch();
const device = testDevice();
const models = {
  plain: { hiddenChannels: 6, layers: 3, levels: 5, kernelSize: 5 },
  gated: { architecture: 'gated', hiddenChannels: 6, layers: 3, levels: 4, headChannels: 5 },
} satisfies Record<string, PixelCnnOptions>;

describe.skipIf(skipAloud('the peer of scripts/bench', 'reason' in torch ? torch.reason : undefined))(
  'the peer',
  () => {
    let scripts: PeerModule;
    let peer: Peer;
    const library = { PixelCNN, encodeModel };
    const kinds = ['nchw', 'channels_last'].map((layout) => ({ precision: 'f32', layout }));
    beforeAll(async () => {
      scripts = await scriptModule('peer.mjs');
      peer = await scripts.startPeer('python' in torch ? torch.python : '', 1);
    }, 120_000);
    afterAll(() => peer?.end());

    it.each(Object.entries(models))('computes our network and runs it: %s', async (_, options) => {
      const bf16 = { precision: 'bf16', layout: 'channels_last' };
      await scripts.checkSameNetwork(library, device(), options, peer, [...kinds, bf16]);
      for (const kind of [...kinds, bf16]) {
        for (const op of ['forward', 'train']) {
          expect((await peer.request({ op, ...kind, n: 2 })).ms).toBeGreaterThan(0);
        }
      }
    });

    /** Exchanges the two halves of a gate of a layer. */
    const swapHalves = (parameters: NamedArrays, name: string) => {
      const { shape, data } = parameters.get(name)!;
      const row = data.length / shape[0]!;
      const [first, second] = [data.slice(0, row), data.slice(row, 2 * row)];
      data.set(second, 0);
      data.set(first, row);
    };
    it.each<[string, PixelCnnOptions, (parameters: NamedArrays) => void]>([
      ['a bias is missing', models.plain, (all) => all.get('net.2.bias')!.data.fill(0)],
      ['two filters changed places', models.plain, (all) => swapHalves(all, 'net.2.weight')],
      ['a link is missing', models.gated, (all) => all.get('layers.1.link.weight')!.data.fill(0)],
      ['a skip is missing', models.gated, (all) => all.get('layers.0.skip.weight')!.data.fill(0)],
      [
        'a residual of the first layer is missing',
        models.gated,
        (all) => all.get('layers.0.residual.weight')!.data.fill(0),
      ],
      [
        'halves of a gate changed places',
        models.gated,
        (all) => swapHalves(all, 'layers.2.horizontal.weight'),
      ],
    ])('another network is refused before anything is timed: %s', async (_, options, change) => {
      const other: Pick<Peer, 'request'> = {
        request: (message) => {
          const parameters: NamedArrays = new Map();
          return PixelCNN.load(device(), message.file!).then(async (model) => {
            for (const [name, value] of await model.parameters()) parameters.set(name, value);
            change(parameters);
            const { config } = model;
            writeFileSync(
              message.file!,
              encodeModel({ config, imageSize: undefined, weights: 'raw', parameters }),
            );
            await model.dispose();
            return peer.request(message);
          });
        },
      };
      await expect(scripts.checkSameNetwork(library, device(), options, other, [kinds[0]!])).rejects.toThrow(
        /^PyTorch \(f32, nchw\) computes another network: image 0 has [\d.]+ nats there and/,
      );
    });
  },
);

describe('rates of single ops', () => {
  let scripts: RatesModule;
  beforeAll(async () => {
    scripts = await scriptModule('op-rates.mjs');
  });
  const library = { PixelCNN, TrainingStep, trainSchema, networkOf, countLiveWeights };

  it.each(Object.entries(models))('count every multiply-add of a real trace: %s', async (_, options) => {
    const { forward, training } = await scripts.traceOps(library, device(), options, {
      ...{ batch: 2, side: 6, repeats: 1 },
    });
    const total = (ops: readonly Op[]) => ops.reduce((sum, { gflop }) => sum + gflop, 0);
    const { config } = await PixelCNN.create(device(), options);
    const filters = [...networkOf(config).parameters].flatMap(({ filter }) => filter ?? []);
    const once = filters.map((filter) => (2 * 2 * 36 * countLiveWeights(filter)) / 1e9);
    const all = once.reduce((sum, gflop) => sum + gflop, 0);
    expect(total(forward)).toBeCloseTo(all, 12);
    // Filters that read the image need no gradient of their input.
    const ofImage = filters.reduce((sum, { c }, i) => sum + (c === 1 ? once[i]! : 0), 0);
    expect(total(training)).toBeCloseTo(3 * all - ofImage, 12);
    expect(ofImage).toBeGreaterThan(0);
    for (const { op, gflop } of [...forward, ...training])
      expect(gflop > 0).toBe(/^(maskedConv2d(Backward(Input|Weight))?|softmaxCrossEntropy)$/.test(op));
  });

  it('take the least time, group the layers after the first, and name the largest losses', () => {
    const at = (label: string, op: string, ...times: number[]) =>
      times.map((milliseconds) => ({ label, op, milliseconds }));
    const ops = [
      at('layers.0.link forward', 'maskedConv2d', 3, 2),
      at('layers.1.link forward', 'maskedConv2d', 1, 4),
      at('layers.12.link forward', 'maskedConv2d', 5, 2),
      at('layers.2.horizontal gate', 'gatedActivation', 0.5, 0.6),
      at('head', 'softmaxCrossEntropy', 8, 9),
    ];
    const least = scripts.leastTimes([0, 1].map((run) => ops.map((times) => times[run]!)));
    const gflops = [
      ['layers.0.link', 0.1],
      ['layers.1.link', 0.05],
      ['layers.12.link', 0.05],
      ['head.1', 0.2],
    ] as const;
    const grouped = scripts.groupOps(scripts.withGflops(least, gflops, 3));
    expect(
      grouped.map(({ label, count, milliseconds, gflop }) => [label, count, milliseconds, +gflop.toFixed(9)]),
    ).toEqual([
      ['layers.0.link forward', 1, 2, 0.1],
      ['layers.*.link forward', 2, 3, 0.1],
      ['layers.*.horizontal gate', 1, 0.5, 0],
      ['head', 1, 8, 0.6],
    ]);
    // At 100 GFLOP/s the four need 1, 1, 0 and 6 ms.
    const text = scripts.rateTable('forward', grouped, 100);
    expect(text).toMatch(/layers\.0\.link forward +2\.000 ms +0\.100 GFLOP +50% +loss 1\.000 ms/);
    expect(text).toContain('convolutions together: 40% of the FMA peak');
    expect(text).toContain(
      'largest losses: layers.*.link forward 2.00 ms (33% of the peak); head 2.00 ms (75% of the peak); layers.0.link forward 1.00 ms (50% of the peak)',
    );
    expect(text).not.toContain('more than 100%');
    expect(scripts.rateTable('forward', grouped, 20)).toMatch(/more than 100%: Winograd .*busy/);
    expect(() =>
      scripts.withGflops([{ label: 'layers.7.link forward', op: 'maskedConv2d' }], gflops, 1),
    ).toThrow("the label 'layers.7.link forward' names no layer");
  });
});
