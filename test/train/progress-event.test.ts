// Tests the progress events of an evaluation, a validation and sampling: twice a second at most, however large they
// are.
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ImageBatch } from '../../src/data/image-batch.js';
import { evaluate, PixelCNN, type ProgressEvent, type TrainEvent, train } from '../../src/index.js';
import { twiceASecond } from '../../src/progress-event.js';
import { testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const device = testDevice({ threads: 1 });
const create = () => PixelCNN.create(device(), { hiddenChannels: 4, layers: 2, levels: 2, kernelSize: 3 });
const random = new TestRandom(3);
const imagesOf = (count: number, side = 16): ImageBatch => {
  return { data: random.bytes(count * side * side), count, height: side, width: side, channels: 1 };
};

afterEach(() => {
  vi.restoreAllMocks();
});

/** Lets every look at the clock find `milliseconds` gone by. */
function slowClock(milliseconds: number): void {
  let now = 0;
  vi.spyOn(performance, 'now').mockImplementation(() => (now += milliseconds));
}

describe('twiceASecond', () => {
  it('passes on what comes half a second after what was told', () => {
    slowClock(200);
    const told: number[] = [];
    const tell = twiceASecond((done) => told.push(done));
    for (let i = 1; i <= 9; i += 1) tell(i, 9);
    expect(told).toEqual([3, 6, 9]);
  });
});

describe('evaluate', () => {
  it('tells at its end that all is done, also where it is fast', async () => {
    const events: ProgressEvent[] = [];
    const onEvent = (event: ProgressEvent) => events.push(event);
    await evaluate(await create(), imagesOf(7), { onEvent });
    expect(events).toEqual([{ type: 'progress', done: 7, of: 7 }]);
  });

  it('tells rising numbers over all draws, and the same result', async () => {
    const model = await create();
    const images = imagesOf(2000);
    const options = { protocol: 'dynamic', draws: 3 } as const;
    const silent = await evaluate(model, images, options);
    slowClock(600);
    const events: ProgressEvent[] = [];
    const told = await evaluate(model, images, { ...options, onEvent: (event) => events.push(event) });
    expect(told).toEqual(silent);
    const numbers = events.map(({ done }) => done);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(numbers.length).toBeGreaterThanOrEqual(4);
    expect(events.every(({ of }) => of === 6000)).toBe(true);
    expect(numbers.at(-1)).toBe(6000);
  });

  it('refuses what is no function, and rejects with what one throws', async () => {
    const model = await create();
    const wrong = evaluate(model, imagesOf(2), { onEvent: 'loud' as never });
    await expect(wrong).rejects.toMatchObject({ code: 'ERR_INVALID_ARG_VALUE' });
    const onEvent = () => {
      throw new Error('planted');
    };
    await expect(evaluate(model, imagesOf(2), { onEvent })).rejects.toThrow('planted');
    // The device works on.
    expect((await evaluate(model, imagesOf(2))).images).toBe(2);
  });
});

describe('train', () => {
  async function eventsOf(validation: ImageBatch): Promise<TrainEvent[]> {
    const settings = { steps: 1, batchSize: 4, validation, samples: 3 };
    const events: TrainEvent[] = [];
    for await (const event of train(await create(), imagesOf(4), settings)) events.push(event);
    return events;
  }

  it('tells of a slow validation and slow samples before it tells their result', async () => {
    slowClock(600);
    const events = await eventsOf(imagesOf(2000));
    const kinds = events.map(({ type }) => type);
    expect([...new Set(kinds)]).toEqual(['step', 'validating', 'sampling', 'epoch', 'validation', 'sample']);
    const validating = events.filter((event) => event.type === 'validating');
    expect(validating.every(({ step, done, of }) => step === 1 && done > 0 && done < of && of === 2000)).toBe(
      true,
    );
    const sampling = events.filter((event) => event.type === 'sampling');
    expect(sampling.every(({ done, of }) => done > 0 && done <= of)).toBe(true);
  });

  it('tells nothing of fast ones', async () => {
    slowClock(1e-3);
    const kinds = (await eventsOf(imagesOf(20))).map(({ type }) => type);
    expect(kinds).toEqual(['step', 'epoch', 'validation', 'sample']);
  });
});
