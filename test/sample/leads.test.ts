// Tests how far ahead the sampler computes what sees the rows above: from the recorded network, and no less than needed.
import { describe, expect, it } from 'vitest';
import { frontSteps } from '../../src/program/front.js';
import { buildSampler } from '../../src/sample/front-sampler.js';
import { passesOf } from '../../src/sample/passes.js';
import { firstBitDifference } from '../helpers/close.js';
import { drawWithLogits } from '../helpers/draw.mjs';
import { imagesOfLevels, randomModel, testDevice } from '../helpers/models.js';

const device = testDevice();

const gated = (options: object) => ({
  architecture: 'gated' as const,
  hiddenChannels: 4,
  levels: 2,
  ...options,
});

async function passes(options: object, width: number) {
  const model = await randomModel(device(), options, 1);
  const result = passesOf(model.internals(), width);
  model.dispose();
  return result;
}

describe('the passes of a network', () => {
  it.each([
    { layers: 7, kernelSize: 3, firstKernelSize: 7, steps: 298 },
    { layers: 10, kernelSize: 3, firstKernelSize: 7, steps: 379 },
    { layers: 4, kernelSize: 3, firstKernelSize: 3, steps: 28 + 27 * 5 },
    { layers: 3, kernelSize: 5, firstKernelSize: 7, steps: 28 + 27 * 8 },
  ])('of 28x28 pixels take $steps steps with $layers gated layers', async ({ steps, ...options }) => {
    const { front, rows } = await passes(gated(options), 40);
    expect(frontSteps(front, 28, 28)).toBe(steps);
    const [m, m0] = [(options.kernelSize - 1) / 2, (options.firstKernelSize - 1) / 2];
    expect(front.slope).toBe((options.layers - 1) * m + m0 + 1);
    // Layer l runs (L - 1 - l) * m columns ahead; the link, which only the pixel itself reads, does not.
    for (let l = 0; l < options.layers - 1; l += 1) {
      const lead = (options.layers - 1 - l) * m;
      expect((rows as Map<string, number>).get(`layers.${l}.vertical forward y`)).toBe(lead);
      expect((rows as Map<string, number>).get(`layers.${l}.vertical gate y`)).toBe(lead);
      expect((rows as Map<string, number>).get(`layers.${l}.link forward y`)).toBe(0);
    }
  });

  it('take whole rows where the network sees more than a third of the width', async () => {
    const options = gated({ layers: 7 });
    expect(await passes(options, 30)).toMatchObject({ front: { slope: 10 } });
    expect(await passes(options, 29)).toMatchObject({ front: { slope: 29 }, rows: 'whole' });
    expect(await passes(options, 5)).toMatchObject({ front: { slope: 5 }, rows: 'whole' });
  });

  it('of a plain network have no rows', async () => {
    const plain = { hiddenChannels: 4, layers: 3, levels: 2, kernelSize: 5 };
    expect(await passes(plain, 28)).toMatchObject({ front: { slope: 3 }, rows: 'none' });
  });
});

describe('a lead', () => {
  const [count, height, width] = [2, 4, 24];
  const library = { buildSampler, passesOf, frontSteps };

  /** Whether the sampler draws from the logits of the full pass when the lead of one op is `less` columns shorter. */
  async function hasTheBitsOfTheFullPass(name: string, less: number): Promise<boolean> {
    const model = await randomModel(device(), gated({ layers: 4, levels: 4 }), 3, 2);
    const rows = passesOf(model.internals(), width).rows as Map<string, number>;
    rows.set(name, rows.get(name)! - less);
    const { level, logits } = await drawWithLogits(library, model, { count, height, width });
    const full = await model.logits(imagesOfLevels(model, level, count, height, width));
    model.dispose();
    return firstBitDifference(logits, full.data) === -1;
  }

  it('must not be shorter', async () => {
    expect(await hasTheBitsOfTheFullPass('layers.0.vertical forward y', 0)).toBe(true);
    for (const name of [
      'layers.0.vertical forward y',
      'layers.1.vertical gate y',
      'layers.2.vertical forward y',
    ])
      expect(await hasTheBitsOfTheFullPass(name, 1), name).toBe(false);
  });
});
