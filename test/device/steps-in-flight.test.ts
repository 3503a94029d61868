// Tests that two steps run at a time, first come first served, and none overtakes or is forgotten.
import { describe, expect, it } from 'vitest';
import { StepsInFlight } from '../../src/device/steps-in-flight.js';

const none = undefined;

describe('steps in flight', () => {
  it('take turns in the order of asking: one that comes while a place is handed on waits', async () => {
    const steps = new StepsInFlight();
    expect([steps.tryEnter(), steps.tryEnter(), steps.tryEnter()]).toEqual([true, true, false]);
    const order: string[] = [];
    const first = steps.enter(none).then(() => order.push('first'));
    const second = steps.enter(none).then(() => order.push('second'));
    steps.leave();
    // The first has its place, although it has not run yet.
    expect(steps.tryEnter()).toBe(false);
    await first;
    expect(order).toEqual(['first']);
    steps.leave();
    await second;
    steps.leave();
    steps.leave();
    expect([steps.tryEnter(), steps.tryEnter(), steps.tryEnter()]).toEqual([true, true, false]);
  });

  it('leave the line with the reason of their signal', async () => {
    const steps = new StepsInFlight();
    steps.tryEnter();
    steps.tryEnter();
    const controller = new AbortController();
    const leaving = steps.enter(controller.signal);
    const staying = steps.enter(none);
    controller.abort(new Error('enough'));
    await expect(leaving).rejects.toThrow('enough');
    steps.leave();
    await staying;
  });

  it('are all woken when there is nothing to wait for', async () => {
    const steps = new StepsInFlight();
    steps.tryEnter();
    steps.tryEnter();
    const waiting = [steps.enter(none), steps.enter(none)];
    steps.wakeAll();
    await Promise.all(waiting);
    for (let i = 0; i < 4; i += 1) steps.leave();
    expect(steps.tryEnter()).toBe(true);
  });
});
