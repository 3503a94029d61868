// Tests `pixelcnn build` in an installed package without binaries: what it needs, and that its result is used.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { packageCopy } from '../helpers/built-package.js';

// Without cmake/ and cuda/: what is there of CUDA on this machine is not looked for, it would take minutes.
const folder = packageCopy('build', ['dist', 'native', 'CMakeLists.txt', 'package.json']);
const work = join(folder, '..');
const main = join(folder, 'dist/cli/main.js');

function cli(args: readonly string[], env: NodeJS.ProcessEnv) {
  return spawnSync(process.execPath, [main, ...args], { cwd: work, env, encoding: 'utf8' });
}

it('names everything that is missing, and where it comes from', () => {
  const bare = join(work, 'bare');
  mkdirSync(bare);
  const { status, stderr } = cli(['build'], { PATH: bare });
  expect(status).toBe(1);
  expect(stderr).toContain('not found: npm, a C++ compiler, cmake, make or ninja');
  expect(stderr).toMatch(/fix: Debian and Ubuntu: apt-get install g\+\+ cmake make/);
  expect(stderr).toContain('ERR_BUILD_TOOLS');
});

it('shows what the compiler said when it fails, and leaves no binary', { timeout: 120_000 }, () => {
  const { status, stderr } = cli(['build'], { ...process.env, CXX: compiler('-fno-such-flag') });
  expect(status).toBe(1);
  expect(stderr).toContain('ERR_BUILD_FAILED');
  expect(stderr).toContain('-fno-such-flag');
  expect(existsSync(join(folder, 'build/Release'))).toBe(false);
});

it('builds a binary that the package then uses', { timeout: 600_000 }, () => {
  // Without optimisation: it is the way that is tested, and a real build takes minutes.
  const { status, stdout, stderr } = cli(['build'], { ...process.env, CXX: compiler('-O0') });
  expect([status, stderr.includes('error')]).toEqual([0, false]);
  const addon = join(folder, 'build/Release/pixelcnn.node');
  expect(stdout).toContain(`built ${addon}`);
  expect(existsSync(join(folder, 'build/from-source'))).toBe(false);
  const doctor = cli(['doctor', '--json'], { PATH: process.env.PATH });
  const { healthy, findings } = JSON.parse(doctor.stdout) as { healthy: boolean; findings: object[] };
  expect(findings).toContainEqual({ name: 'binary', state: 'ok', text: `${addon}, built here` });
  expect(healthy).toBe(true);
});

/** A compiler that adds flags after all others. */
function compiler(flags: string): string {
  const file = join(work, 'compiler');
  writeFileSync(file, `#!/bin/sh\nexec c++ "$@" ${flags}\n`);
  chmodSync(file, 0o755);
  return file;
}
