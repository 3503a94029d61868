// The event loop stays free: p99 of its delay is at most 5 ms while the model samples and evaluates likelihoods, and
// while a GPU starts.
import { describe, expect, it } from 'vitest';
import { runChild } from '../helpers/child.js';
import { emulatedLibrary } from '../helpers/cuda.js';

interface Delay {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly count: number;
}

async function measure(work: string): Promise<Delay> {
  const slowGpu = {
    PIXELCNN_CUDA_LIBRARY: emulatedLibrary,
    PIXELCNN_EMULATOR_START_MILLISECONDS: '100',
  };
  const child = await runChild('runtime/children/event-loop.mjs', { args: [work], env: slowGpu });
  expect(child.stderr).toBe('');
  expect(child.code).toBe(0);
  const delay = JSON.parse(child.stdout) as Delay;
  const text = (['p50', 'p99', 'max'] as const)
    .map((name) => `${name} ${delay[name].toFixed(2)} ms`)
    .join(', ');
  console.info(`event loop delay, ${work}: ${text}, ${delay.count} samples`);
  return delay;
}

describe('event loop delay', () => {
  it.each(['sample', 'likelihood', 'open'])('%s: p99 at most 5 ms', async (work) => {
    // The machine may be busy with other tests: three measurements, of which one must do.
    const measured: number[] = [];
    while (measured.length < 3 && !(Math.min(...measured) <= 5)) {
      const { p99, count } = await measure(work);
      expect(count).toBeGreaterThan(100);
      measured.push(p99);
    }
    expect(Math.min(...measured), `p99 of each measurement: ${measured.join(', ')}`).toBeLessThanOrEqual(5);
  });

  it('a planted block of 40 ms is seen', async () => {
    expect((await measure('block')).p99).toBeGreaterThan(20);
  });
});
