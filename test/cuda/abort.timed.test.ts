// Tests that an abort is seen within 100 ms, even where a GPU draws whole batches in one submission and has the
// next one waiting.
import { afterEach, describe, expect, it, vi } from 'vitest';
import { FrontSampler } from '../../src/sample/front-sampler.js';
import { openGpu } from '../helpers/cuda.js';
import { randomModel } from '../helpers/models.js';
import { expectWithin } from '../helpers/time-limit.js';

const config = { channels: 1, hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 };

afterEach(() => vi.restoreAllMocks());

describe('AbortSignal', () => {
  it('aborted at several moments of many batches: ends within 100 ms, and the model goes on', {
    timeout: 60_000,
  }, async () => {
    await using device = await openGpu();
    // Batches of four images, so that a call has hundreds of them.
    vi.spyOn(device, 'pixelsPerSampledBatch', 'get').mockReturnValue(4 * 36);
    vi.spyOn(device, 'pixelsPerForward', 'get').mockReturnValue(4 * 36);
    const draw = vi.spyOn(FrontSampler.prototype, 'draw');
    const model = await randomModel(device, config, 1, 1.5);
    const size = { height: 6, width: 6, seed: 3 };
    const expected = await model.sample({ ...size, count: 12 });
    for (const delay of [40, 120, 200]) {
      draw.mockClear();
      await expectWithin(100, `sample ended after an abort at ${delay} ms`, async (stopwatch) => {
        const controller = new AbortController();
        const reason = new Error('enough');
        const work = model.sample({ ...size, count: 4000, signal: controller.signal });
        work.catch(() => {});
        await new Promise((resolve) => setTimeout(resolve, delay));
        await stopwatch(() => {
          controller.abort(reason);
          return expect(work).rejects.toBe(reason);
        });
      });
      expect(draw.mock.calls.some(([chunk]) => chunk.program === 'block')).toBe(true);
    }
    expect(await model.sample({ ...size, count: 12 })).toEqual(expected);
  });
});
