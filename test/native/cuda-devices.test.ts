// Runs the native tests of several devices on one GPU and of the stopwatch, on the emulated GPU.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const build = fileURLToPath(new URL('../../build/', import.meta.url));

function run(program: string) {
  expect(existsSync(build + program), 'run scripts/build/setup.mjs --tests').toBe(true);
  const env = { ...process.env, LD_LIBRARY_PATH: `${build}driver-standin` };
  return spawnSync(build + program, { encoding: 'utf8', env, timeout: 60_000 });
}

describe('devices of one GPU', () => {
  it('leave the captures of the others alone, and fall back where one is refused', () => {
    const { stdout, status } = run('cuda_devices_test');
    expect(stdout).toMatch(/^\d{3} passed, 0 failed\n$/);
    expect(status).toBe(0);
  });
});

describe('the stopwatch that chooses convolutions', () => {
  it("tells the device's time, whatever the host takes", () => {
    const { stdout, status } = run('cuda_stopwatch_test');
    expect(stdout).toBe('7 passed, 0 failed\n');
    expect(status).toBe(0);
  });
});
