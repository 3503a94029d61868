// Tests that a signal ends `evaluate`, `sample` and `complete` with one line that says so and the exit code of the
// signal.
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { testFolder, tiny } from './run-cli.js';

const { run, start, path } = testFolder();
beforeAll(async () => {
  const flags = ['--data', 'mnist', '--limit', '20', '--steps', '1', '--samples', '0', '--out', 'run'];
  expect((await run(['train', ...flags, ...tiny, '--quiet'])).code).toBe(0);
});

/**
 * Whether the process handles signals by now, as Linux tells it of SIGHUP, the last one: of SIGINT and SIGTERM Node.js has
 * handlers of its own from the start.
 */
function handlesSignals(pid: number): boolean {
  const mask = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
  return ((BigInt(`0x${mask}`) >> BigInt(constants.signals.SIGHUP - 1)) & 1n) === 1n;
}

describe('an interrupted command', () => {
  it.for([
    ['evaluate', ['--data', 'mnist:train'], 'SIGINT', 130],
    ['evaluate', ['--data', 'mnist:train', '--json'], 'SIGTERM', 143],
    ['sample', ['--count', '60000'], 'SIGINT', 130],
    ['complete', ['--images', 'mnist:train', '--count', '2000'], 'SIGINT', 130],
  ] as const)(
    '%s %j says so after %s, also with --quiet',
    async ([command, flags, name, expected], { skip }) => {
      if (!existsSync('/proc/self/status')) {
        const reason = 'this system does not tell which signals a process handles';
        skipAloud('interrupted commands', reason);
        skip(reason);
      }
      const { child, ended } = start([command, 'run', ...flags, '--quiet']);
      await vi.waitFor(() => expect(handlesSignals(child.pid!)).toBe(true), {
        timeout: 20_000,
        interval: 20,
      });
      child.kill(name);
      const { code, stdout, stderr } = await ended;
      expect([code, stdout, stderr]).toEqual([expected, '', `interrupted by ${name}\n`]);
      expect(existsSync(path('samples.png')) || existsSync(path('completions.png'))).toBe(false);
    },
  );
});
