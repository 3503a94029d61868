// Tests the shortened log of a training run, and how the steps of another run are compared with it.
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { comparedSteps, firstDifference, minutesOf, shortened, stepsPerEpoch } = await import(
  `${root}scripts/quality/run-log.mjs`
);

const stepLine = (step: number) => ({
  ...{ type: 'step', step, nats: 100 / step, gradientNorm: 1 + 1 / step, learningRate: 0.001 },
  ...{ imagesPerSecond: 32, wallTime: 1000 + step },
});
const steps = (count: number) => Array.from({ length: count }, (_, i) => stepLine(i + 1));
const timed = (...times: number[]) => times.map((wallTime) => ({ type: 'step', wallTime }));
const lines = [
  ...steps(1100),
  { type: 'epoch', epoch: 0, step: 1100, nats: 2, wallTime: 3 },
  { type: 'validation', step: 1100, nats: 1.5, perClass: [], wallTime: 4 },
  { type: 'resume', step: 1100, path: 'checkpoints/step-00001100.safetensors' },
  { type: 'sample', step: 1100, path: 'samples/epoch-001.png' },
  { type: 'checkpoint', step: 1100, path: 'checkpoints/step-00001100.safetensors' },
  ...Array.from({ length: 150 }, (_, i) => stepLine(1101 + i)),
];

describe('shortened', () => {
  it('keeps the first 1,000 steps, then every hundredth, and what ends an epoch', () => {
    const log = shortened(lines);
    const numbers = log
      .filter(({ type }: { type: string }) => type === 'step')
      .map(({ step }: { step: number }) => step);
    expect(numbers.slice(0, 1000)).toEqual(Array.from({ length: 1000 }, (_, i) => i + 1));
    expect(numbers.slice(1000)).toEqual([1100, 1200]);
    expect(log[0]).toEqual({ type: 'step', step: 1, nats: 100, gradientNorm: 2 });
    expect(log.filter(({ type }: { type: string }) => type !== 'step')).toEqual([
      { type: 'epoch', epoch: 0, step: 1100, nats: 2 },
      { type: 'validation', step: 1100, nats: 1.5 },
      { type: 'resume', step: 1100, path: 'checkpoints/step-00001100.safetensors' },
    ]);
  });

  it('counts minutes and the steps of an epoch', () => {
    expect(minutesOf(timed(0, 10, 70, 100))).toBeCloseTo(100 / 60, 10);
    // The pause before a run is resumed does not count.
    expect(minutesOf([...timed(0, 60), { type: 'resume', wallTime: 1000 }, ...timed(1030)])).toBe(1.5);
    expect(stepsPerEpoch(lines)).toBe(1100);
  });
});

describe('firstDifference', () => {
  const log = shortened(lines);
  it('is undefined for the same bits', () => {
    expect(comparedSteps).toBe(1000);
    expect(firstDifference(lines, log)).toBeUndefined();
    expect(firstDifference(lines.toReversed(), log)).toBeUndefined();
  });

  it.each([1, 500, 1000])('finds a last bit that differs in step %d', (step) => {
    for (const name of ['nats', 'gradientNorm'] as const) {
      const value = stepLine(step)[name];
      const changed = lines.map((line) =>
        line.type === 'step' && line.step === step ? { ...line, [name]: value * (1 + Number.EPSILON) } : line,
      );
      expect(firstDifference(changed, log)).toContain(`step ${step}: ${name} is`);
    }
  });

  it('finds a step that is missing, in either', () => {
    const without = lines.filter(({ step }) => step !== 7);
    expect(firstDifference(without, log)).toBe('step 7 is missing');
    expect(firstDifference(lines, shortened(without))).toBe('step 7 is missing');
    expect(firstDifference(steps(999), log)).toBe('step 1000 is missing');
    expect(firstDifference([], log)).toBe('step 1 is missing');
  });
});
