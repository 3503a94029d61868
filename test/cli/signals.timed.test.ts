// Tests that a signal ends `pixelcnn train` in order and soon.
import { readdirSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { expectWithin } from '../helpers/time-limit.js';
import { common, jsonLines, stepsOf, testFolder, upTo } from './run-cli.js';

const { start, path, read } = testFolder();

describe('signals', () => {
  const long = [...common, '--epochs', '100000', '--samples', '0', '--json'];

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGUSR1', 138],
    ['SIGUSR2', 140],
  ] as const)('%s finishes the step, saves within 5 s and exits with %i', async (signal, expected) => {
    let attempts = 0;
    await expectWithin(5000, `the end after ${signal}`, async (stopwatch) => {
      attempts += 1;
      const out = `${signal}-${attempts}`;
      const { child, ended, said } = start([...long, '--out', out]);
      await said('"type":"step","step":3,');
      const { code, stdout } = await stopwatch(() => {
        child.kill(signal);
        // npm passes on what the terminal has sent already; that is not a second request.
        child.kill(signal);
        return ended;
      });
      expect(code).toBe(expected);
      const lines = jsonLines(stdout);
      const last = stepsOf(lines).at(-1)!;
      expect(stepsOf(lines)).toEqual(upTo(last));
      expect(lines.at(-1)).toMatchObject({ type: 'summary', stopped: true, steps: last });
      const name = `step-${String(last).padStart(8, '0')}.safetensors`;
      expect(readdirSync(path(out, 'checkpoints'))).toContain(name);
      expect(stepsOf(jsonLines(read(out, 'metrics.jsonl')))).toEqual(upTo(last));
    });
  });
});
