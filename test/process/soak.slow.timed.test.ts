// Tests a short soak, and that it finds memory, threads and handles that are leaked on purpose. `npm run soak --
// --minutes 30` is the long one.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { slowdown } from '../helpers/slowdown.mjs';

interface Verdict {
  readonly counts: Record<string, number>;
  readonly growth: { mebibytes: number; threads: number; handles: number };
  readonly grew: string[];
}

function soak(args: string[]): Promise<{ code: number | null; stderr: string; verdict: Verdict }> {
  const script = fileURLToPath(new URL('../../scripts/long/soak.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      if (stdout === '') reject(new Error(stderr));
      else resolve({ code, stderr, verdict: JSON.parse(stdout) as Verdict });
    });
  });
}

describe('soak', () => {
  // The first fifth is warm-up, and a heap takes about ten seconds to settle: of an idle machine, so that on a busy one
  // all of it takes longer, in which as much work is done.
  it('a minute of mixed work leaves memory, threads and handles as they were', {
    timeout: 600_000,
  }, async () => {
    const seconds = 60 * (await slowdown(1000));
    const { code, verdict } = await soak(['--seconds', String(seconds)]);
    console.info(seconds, verdict.counts, verdict.growth);
    expect(verdict.grew).toEqual([]);
    expect(code).toBe(0);
    expect(Object.keys(verdict.counts).length).toBe(10);
  });

  it.each(['memory', 'threads', 'handles'])('a planted leak of %s is found', async (plant) => {
    const { code, verdict } = await soak(['--seconds', '10', '--plant', plant]);
    expect(verdict.grew).toContain(plant);
    expect(code).toBe(1);
  });
});
