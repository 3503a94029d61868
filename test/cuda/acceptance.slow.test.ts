// scripts/gpu-acceptance on the emulated GPU: green as the code is, red with a planted bug.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = temporaryFolder('acceptance');

function accept(name: string, only: string, library: string) {
  const env = { ...process.env, PIXELCNN_CUDA_LIBRARY: `${root}build/${library}.so` };
  expect(existsSync(env.PIXELCNN_CUDA_LIBRARY), 'run scripts/setup.mjs --tests').toBe(true);
  const out = join(folder, `${name}.json`);
  const args = ['--emulated', '--only', only, '--out', out];
  const run = spawnSync(`${root}scripts/gpu-acceptance/run`, args, { encoding: 'utf8', env });
  return { ...run, report: existsSync(out) ? JSON.parse(readFileSync(out, 'utf8')) : undefined };
}

describe('scripts/gpu-acceptance', () => {
  it('is green on the emulated GPU', { timeout: 300_000 }, () => {
    const parts = 'operations,training,sampling,sanitizer,throughput';
    const { status, stderr, report } = accept('green', parts, 'libpixelcnn_cuda_emulated_plain');
    expect(status, stderr).toBe(0);
    expect(Object.keys(report.parts)).toEqual(parts.split(','));
    expect(report).toMatchObject({ emulated: true, gpu: 'CUDA emulator' });
    expect(report.parts.operations.convolutions).toBe(16);
    expect(report.parts.throughput.training[0].imagesPerSecond).toBeGreaterThan(0);
    expect(report.parts.throughput.sampling[0].imagesPerSecond).toBeGreaterThan(0);
  });

  it('is red with a planted bug: the next tap', { timeout: 300_000 }, () => {
    const parts = 'operations,training,sampling';
    const { status, report } = accept('red', parts, 'libpixelcnn_cuda_emulated_planted');
    expect(status).toBe(1);
    const failures = (part: string): string => report.parts[part].failures.join('\n');
    expect(failures('operations')).toMatch(/^f32 direct .*: forward error /m);
    expect(failures('operations')).toMatch(/: output \d+ changed from /);
    expect(failures('training')).toMatch(/f32: losses differ from the CPU's/);
    expect(failures('sampling')).toMatch(/logits are not those of a forward pass/);
  });

  it('says what it can do, and what it cannot', () => {
    const run = (...args: string[]) =>
      spawnSync(`${root}scripts/gpu-acceptance/run`, args, { encoding: 'utf8' });
    expect(run('--help').stdout).toContain('--emulated');
    expect(run('--only', 'speed').stderr).toContain("unknown part 'speed'");
    expect(run('--only', 'speed').status).toBe(1);
  });
});
