// Tests what repeated signals to `pixelcnn train` do, one after another: save, end a wait, end the process.
import { setTimeout } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FullDiskError } from '../../src/checkpoint/full-disk.js';
import { StopRequest } from '../../src/cli/stop-request.js';
import type { TrainingRun } from '../../src/train/training-run.js';

let words: string[] = [];
let stop: StopRequest;
let stops = 0;
let run: TrainingRun;
const full = new FullDiskError('a', 1, 1, Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' }));

beforeEach(() => {
  words = [];
  stops = 0;
  run = { stop: () => (stops += 1), waitsForDisk: false } as unknown as TrainingRun;
  stop = new StopRequest();
  vi.spyOn(process, 'exit').mockImplementation((code) => {
    words.push(`exit ${code}`);
    return undefined as never;
  });
  stop.attach(run, {
    stopping: (name) => words.push(`stopping ${name}`),
    givingUp: (name) => words.push(`giving up ${name}`),
    exiting: (name) => words.push(`exiting ${name}`),
  });
});
afterEach(() => {
  stop.detach();
  vi.restoreAllMocks();
});

const emit = (name: NodeJS.Signals) => process.emit(name, name as never);

/** The signals, too far apart to be one request. */
async function receive(...names: NodeJS.Signals[]): Promise<void> {
  for (const name of names) {
    emit(name);
    await setTimeout(550);
  }
}

describe('StopRequest', () => {
  it('counts a signal that comes twice at once as one', () => {
    emit('SIGINT');
    emit('SIGINT');
    expect([words, stops, stop.exitCode]).toEqual([['stopping SIGINT'], 1, 130]);
    expect(stop.signal.aborted).toBe(true);
  });

  it('ends the process at the second request, with a last word', async () => {
    await receive('SIGINT', 'SIGTERM');
    expect(words).toEqual(['stopping SIGINT', 'exiting SIGTERM', 'exit 143']);
  });

  it('never takes a hangup for a second request', async () => {
    await receive('SIGHUP', 'SIGHUP');
    expect([words, stops, stop.exitCode]).toEqual([['stopping SIGHUP'], 1, 129]);
    emit('SIGINT');
    expect(words).toEqual(['stopping SIGHUP', 'exiting SIGINT', 'exit 130']);
  });

  it('lets a hangup after Ctrl-C change nothing', async () => {
    await receive('SIGINT', 'SIGHUP');
    expect([words, stop.exitCode]).toEqual([['stopping SIGINT'], 130]);
  });

  it('ends the waiting of a run for space, at the first signal and at a later one', async () => {
    run.waitsForDisk = true;
    emit('SIGHUP');
    // Nobody asked for that: the disk may have space soon.
    expect([words, stops]).toEqual([[], 0]);
    await receive('SIGINT');
    run.waitsForDisk = false;
    expect([words, stops]).toEqual([['giving up SIGINT'], 1]);
    await receive('SIGTERM');
    expect(words).toEqual(['giving up SIGINT', 'exiting SIGTERM', 'exit 143']);
  });

  it('ends its own waiting for space and no later one', async () => {
    const save = vi.fn().mockRejectedValue(full);
    const saving = stop.saveOrWait(save, () => emit('SIGINT'));
    await expect(saving).rejects.toBe(full);
    expect([save.mock.calls.length, words]).toEqual([2, ['giving up SIGINT']]);
    expect(await stop.saveOrWait(async () => 'saved', vi.fn())).toBe('saved');
  });
});
