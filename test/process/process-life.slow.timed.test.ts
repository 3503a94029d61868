// Tests how processes and worker threads end with work in flight: the expected exit code, no signal, nothing on
// stderr.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { type ChildOptions, type ChildResult, runChild } from '../helpers/child.js';

const live = (scenario: string, options: ChildOptions = {}): Promise<ChildResult> =>
  runChild('process/children/life.mjs', { ...options, args: [scenario] });

describe('a process', () => {
  it.each([
    { scenario: 'end, nothing disposed', code: 0 },
    { scenario: 'end, all disposed', code: 0 },
    { scenario: 'end, work not awaited', code: 0, prints: 'finished' },
    { scenario: 'end, device opened only', code: 0 },
    { scenario: 'end, opening not awaited', code: 0, prints: 'opened' },
    { scenario: 'exit while opening', code: 7 },
    { scenario: 'terminate workers while opening', code: 0 },
    { scenario: 'exit when idle', code: 7 },
    { scenario: 'exit mid-sample', code: 7 },
    { scenario: 'exit mid-likelihood', code: 7 },
    { scenario: 'exit mid-training', code: 7 },
    { scenario: 'dispose mid-training', code: 0 },
    { scenario: 'terminate workers mid-training', code: 0 },
    { scenario: 'dispose mid-step', code: 0 },
    { scenario: 'dispose the model mid-sample, then drop everything', code: 0 },
    { scenario: 'garbage while working', code: 0, nodeArgs: ['--expose-gc'] },
    { scenario: 'a worker samples', code: 0 },
    { scenario: 'two workers and the main thread at once', code: 0 },
    { scenario: 'a worker exits mid-sample', code: 0 },
    { scenario: 'a worker throws mid-sample', code: 0 },
    { scenario: 'exit while a worker samples', code: 7 },
    { scenario: 'terminate workers mid-sample', code: 0 },
  ])('$scenario: code $code', async ({ scenario, code, prints, nodeArgs }) => {
    const child = await live(scenario, nodeArgs === undefined ? {} : { nodeArgs });
    expect(child.stderr).toBe('');
    expect({ code: child.code, signal: child.signal }).toEqual({ code, signal: null });
    if (code === 0) expect(child.stdout).toContain('end of the script');
    if (prints !== undefined) expect(child.stdout).toContain(prints);
  });

  it('that throws while work is in flight says so and has code 1', async () => {
    const child = await live('throw mid-sample');
    expect({ code: child.code, signal: child.signal }).toEqual({ code: 1, signal: null });
    expect(child.stderr).toContain('Error: planted');
    expect(child.stderr).not.toMatch(/mutex|terminate called|abort|assert|Segmentation/i);
  });

  it('is ended by SIGTERM at once', async () => {
    const child = await live('wait for SIGTERM', { signalWhenReady: 'SIGTERM' });
    expect({ code: child.code, signal: child.signal }).toEqual({ code: null, signal: 'SIGTERM' });
    expect(child.stderr).toBe('');
  });

  it('that handles SIGTERM ends in its own way', async () => {
    const child = await live('handle SIGTERM', { signalWhenReady: 'SIGTERM' });
    expect(child.stderr).toBe('');
    expect({ code: child.code, signal: child.signal }).toEqual({ code: 0, signal: null });
  });
});

describe('require()', () => {
  it('from CommonJS works where Node has it', async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [
      '-p',
      'Boolean(process.features.require_module)',
    ]);
    if (stdout.trim() !== 'true') {
      console.warn(`SKIPPED require(): Node ${process.version} cannot require ES modules`);
      return;
    }
    const child = await live('require() from CommonJS');
    // Node itself may say that require() of a module is experimental.
    const complaints = child.stderr.split('\n').filter((line) => {
      return (
        line !== '' &&
        !/ExperimentalWarning: CommonJS module|--trace-warnings|Support for loading ES/.test(line)
      );
    });
    expect(complaints).toEqual([]);
    expect({ code: child.code, signal: child.signal }).toEqual({ code: 0, signal: null });
  });
});
