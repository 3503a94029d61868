// Fuzzes each reader of untrusted files for PIXELCNN_FUZZ_SECONDS (default 10), and planted defects.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const script = fileURLToPath(new URL('fuzz.mjs', import.meta.url));
const seconds = Number(process.env.PIXELCNN_FUZZ_SECONDS ?? 10);

interface Report {
  readonly executions: number;
  readonly outcomes?: number;
  readonly accepted?: number;
  readonly finding?: { readonly problem: string; readonly input: string };
}

async function fuzz(target: string, seed: number, limit: number): Promise<Report> {
  const child = spawn(process.execPath, [script, target, String(seed), '1e9', String(limit)]);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  await new Promise((resolve) => child.on('close', resolve));
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Report;
}

describe('fuzzing', () => {
  it.each(['safetensors', 'idx', 'png'])(
    '%s: a typed error or a valid value',
    { timeout: 300_000 },
    async (target) => {
      const report = await fuzz(target, 1, seconds);
      console.log(`${target}: ${report.executions} executions, ${report.outcomes} outcomes`);
      expect(report.finding).toBeUndefined();
      expect(report.executions).toBeGreaterThan(1000);
      expect(report.outcomes).toBeGreaterThan(15);
      expect(report.outcomes).toBeLessThan(200);
      expect(report.accepted).toBeGreaterThan(2);
    },
  );

  it.each([
    ['foreign-error', 'TypeError'],
    ['wrong-value', 'accepted, but'],
    ['hang', 'no end after'],
    ['memory', 'memory grew'],
    ['exit', 'ended its thread'],
    ['one-member', 'refused, but node:zlib unpacks it'],
    ['silence', 'accepted, but its notes are'],
    ['other-pixels', 'accepted, but its pixels are not those of strict'],
    ['refusal', 'refused, but strict accepts it'],
  ])('finds a planted %s', { timeout: 120_000 }, async (defect, problem) => {
    const { finding } = await fuzz(`planted-${defect}`, 1, 60);
    expect(finding?.problem).toContain(problem);
    expect(Buffer.from(finding?.input ?? '', 'base64').length).toBeGreaterThan(0);
  });
});
