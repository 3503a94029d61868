// Tests how soon a device's limits act: calls beyond them are refused at once, end at their deadline, and an abort
// ends a call that waits.
import { describe, expect, it } from 'vitest';
import { expectWithin } from '../helpers/time-limit.js';
import { long, outcome, short, withLimits } from './with-limits.js';

describe('limits of a device', () => {
  it('maxQueue: one call more is refused at once', async () => {
    await withLimits({ maxQueue: 3 }, async (model) => {
      const controller = new AbortController();
      const under = [1, 2, 3].map(() => outcome(model.sample({ ...long, signal: controller.signal })));
      await expectWithin(50, 'a call more than maxQueue', (stopwatch) =>
        stopwatch(() => expect(model.sample(short)).rejects.toMatchObject({ code: 'ERR_QUEUE_FULL' })),
      );
      controller.abort(new Error('enough'));
      await Promise.all(under);
    });
  });

  it('timeoutMs: a call ends at its deadline, working or waiting, and makes room', async () => {
    await withLimits({ maxQueue: 8, timeoutMs: 100 }, async (model) => {
      await expectWithin(1000, '8 calls with timeoutMs 100', async (stopwatch) => {
        const ended = await stopwatch(() =>
          Promise.all(Array.from({ length: 8 }, () => outcome(model.sample(long)))),
        );
        expect(new Set(ended)).toEqual(new Set(['ERR_TIMEOUT']));
      });
      expect(await outcome(model.sample(short))).toBe('worked');
    });
  });
});

describe('an abort', () => {
  it('ends a call that waits behind twenty others within 100 ms', async () => {
    await withLimits(undefined, async (model) => {
      const rest = new AbortController();
      const others = Array.from({ length: 20 }, () =>
        outcome(model.sample({ ...long, signal: rest.signal })),
      );
      await expectWithin(100, 'a waiting call ended after the abort', async (stopwatch) => {
        const controller = new AbortController();
        const call = outcome(model.sample({ ...long, signal: controller.signal }));
        await new Promise((resolve) => setTimeout(resolve, 150));
        const ended = await stopwatch(() => {
          controller.abort(new Error('enough'));
          return call;
        });
        expect(ended).toMatchObject({ message: 'enough' });
      });
      rest.abort(new Error('enough'));
      await Promise.all(others);
    });
  });
});
