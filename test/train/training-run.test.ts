// Tests that events wait for their consumer in bounded memory.
import { describe, expect, it } from 'vitest';
import type { TrainEvent, TrainSummary } from '../../src/train/events.js';
import { TrainingRun } from '../../src/train/training-run.js';

const loss = { nats: 1, bitsPerDim: 1, split: 'train', weights: 'raw', protocol: 'levels' } as const;
const stepEvent = (step: number): TrainEvent => ({
  type: 'step',
  step,
  epoch: 0,
  ...loss,
  learningRate: 1,
  gradientNorm: 1,
  skipped: false,
  imagesPerSecond: 1,
  stepsPerEpoch: 1,
  totalSteps: 1,
});
const sampleEvent = (step: number): TrainEvent => ({
  type: 'sample',
  epoch: step,
  step,
  images: { data: new Uint8Array(1), count: 1, height: 1, width: 1, channels: 1, seed: 0, weights: 'raw' },
});

const epochEvent = (step: number): TrainEvent => ({
  type: 'epoch',
  epoch: step,
  step,
  ...loss,
});

/** What a consumer gets that comes when the run is over. */
async function kept(events: readonly TrainEvent[]): Promise<TrainEvent[]> {
  const run = new TrainingRun(async (self) => {
    for (const event of events) self.emit(event);
    return {} as TrainSummary;
  });
  await run;
  const taken: TrainEvent[] = [];
  for await (const event of run) taken.push(event);
  return taken;
}
const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

describe('events that nobody takes', () => {
  it('are dropped from the oldest step on', async () => {
    const events = await kept([sampleEvent(0), ...upTo(5000).map(stepEvent)]);
    expect(events.map(({ step }) => step)).toEqual([0, ...upTo(5000).slice(-4095)]);
    expect(events[0]?.type).toBe('sample');
  });

  it('are bounded where none is of a step: the oldest go', async () => {
    const events = await kept([stepEvent(1), ...upTo(5000).map(epochEvent)]);
    expect(events.map(({ step }) => step)).toEqual(upTo(5000).slice(-4096));
    expect(events.every(({ type }) => type === 'epoch')).toBe(true);
  });

  it('keep the images of the newest samples only', async () => {
    const events = await kept([stepEvent(0), ...upTo(100).map(sampleEvent)]);
    expect(events.map(({ step }) => step)).toEqual([0, ...upTo(100).slice(-16)]);
  });
});
