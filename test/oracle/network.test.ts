// Tests the float64 network: finite differences for every parameter, and cross-entropy and sampling from their
// definitions.
import { describe, expect, it } from 'vitest';
import { withSeed } from '../helpers/random.js';
import { fourPoint } from './masked-conv2d.js';
import {
  crossEntropy,
  drawLevel,
  networkGradients,
  networkLogits,
  type OracleConfig,
  sampleRaster,
} from './network.js';

function sizeOf(config: OracleConfig, layer: number): { weight: number; bias: number } {
  const last = layer === config.layers - 1;
  const inputs = layer === 0 ? config.channels : config.hiddenChannels;
  const outputs = last ? config.channels * config.levels : config.hiddenChannels;
  return { weight: outputs * inputs * (last ? 1 : config.kernelSize ** 2), bias: outputs };
}

describe('network gradients', () => {
  it.each([
    { config: { channels: 1, hiddenChannels: 3, layers: 3, levels: 4, kernelSize: 3 }, seed: 3 },
    { config: { channels: 3, hiddenChannels: 4, layers: 3, levels: 3, kernelSize: 3 }, seed: 4 },
    { config: { channels: 1, hiddenChannels: 2, layers: 2, levels: 2, kernelSize: 5 }, seed: 5 },
  ])('pass four-point differences in every parameter: $config', async ({ config, seed }) => {
    await withSeed(seed, (random) => {
      const size = { n: 1, h: 3, w: 3 };
      const parameters = new Map<string, Float64Array>();
      for (let layer = 0; layer < config.layers; layer += 1) {
        const { weight, bias } = sizeOf(config, layer);
        const draw = (length: number) => Float64Array.from({ length }, () => random.normal());
        parameters.set(`net.${2 * layer}.weight`, draw(weight));
        parameters.set(`net.${2 * layer}.bias`, draw(bias));
      }
      const levels = Array.from({ length: 9 * config.channels }, () => random.int(0, config.levels - 1));
      const { gradients, nearestKink } = networkGradients(config, parameters, size, levels);
      const step = 1e-5;
      // A ReLU that switches between the four points would spoil the differences; this seed has none.
      expect(nearestKink, 'distance to the nearest kink').toBeGreaterThan(20 * step);
      const loss = () => networkGradients(config, parameters, size, levels).loss;
      for (const [name, gradient] of gradients) {
        const norm = Math.hypot(...gradient);
        gradient.forEach((expected, i) => {
          const measured = fourPoint(parameters.get(name)!, i, step, loss);
          const error = Math.abs(measured - expected) / Math.max(Math.abs(expected), 1e-2 * norm, 1e-4);
          expect(error, `${name}[${i}]: ${expected}, differences give ${measured}`).toBeLessThanOrEqual(1e-6);
        });
      }
    });
  });
});

describe('cross-entropy and sampling', () => {
  it('cross-entropy of known distributions', () => {
    const log = Math.log;
    const logits = [log(0.5), log(0.25), log(0.25), log(0.1) + 7, log(0.2) + 7, log(0.7) + 7];
    const [nats] = crossEntropy(logits, [0, 2], 1, 3);
    expect(nats).toBeCloseTo(-log(0.5) - log(0.7), 12);
    expect([...crossEntropy(logits, [1, 1], 2, 3)].map((value) => Math.exp(-value).toFixed(12))).toEqual([
      '0.250000000000',
      '0.200000000000',
    ]);
  });

  it('draws by inverse cumulative distribution', () => {
    const logits = [0.5, 0.25, 0.25].map(Math.log);
    const level = (u: number) => drawLevel(logits, 0, 3, u).level;
    expect([0, 0.49, 0.5000001, 0.74, 0.7500001, 0.999999].map(level)).toEqual([0, 0, 1, 1, 2, 2]);
    expect(drawLevel([1, 3, 2], 0, 3, 0.9, 0).level).toBe(1);
    expect(drawLevel([1, 3, 2], 0, 3, 0.9, 1e-3).level).toBe(1);
    expect(drawLevel([1, 3, 2], 0, 3, 0.9, 1e6).level).toBe(2);
  });

  it('samples are the argument of their own logits', async () => {
    const config = { channels: 1, hiddenChannels: 2, layers: 2, levels: 3, kernelSize: 3 };
    await withSeed(11, async (random) => {
      const parameters = new Map(
        Object.entries({
          'net.0.weight': random.normals(18),
          'net.0.bias': random.normals(2),
          'net.2.weight': random.normals(6),
          'net.2.bias': random.normals(3),
        }),
      );
      const size = { n: 2, h: 3, w: 4 };
      const uniforms = Array.from({ length: 24 }, () => random.uniform());
      const logitsOf = (levels: Uint8Array) => networkLogits(config, parameters, size, levels);
      const { levels } = await sampleRaster(size, 1, 3, uniforms, logitsOf);
      const logits = logitsOf(levels);
      levels.forEach((level, i) => {
        expect(level).toBe(drawLevel(logits, 3 * i, 3, uniforms[i]!).level);
      });
      expect(new Set(levels).size).toBeGreaterThan(1);
    });
  });
});
