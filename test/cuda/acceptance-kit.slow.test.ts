// Tests scripts/gpu-acceptance with nothing but the repository and the kit: no npm, no Node, no history.
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const folder = temporaryFolder('acceptance-kit');
const { packKit, bytesBelow } = await import(`${root}scripts/gpu-acceptance/prepare.mjs`);
const { readReport } = await import(`${root}scripts/gpu-acceptance/report.mjs`);

/** The files that git has, and the emulated build in place of what nvcc would make. */
function checkOut(): string {
  const copy = join(folder, 'checkout');
  const { stdout } = spawnSync('git', ['ls-files', '-co', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
  });
  for (const file of stdout
    .trim()
    .split('\n')
    .filter((name) => existsSync(join(root, name)))) {
    mkdirSync(join(copy, dirname(file)), { recursive: true });
    cpSync(join(root, file), join(copy, file));
  }
  mkdirSync(join(copy, 'build/Release'), { recursive: true });
  for (const file of [
    'Release/pixelcnn.node',
    'libpixelcnn_cuda_emulated_plain.so',
    'cuda_ops_test_checked',
    'cuda_masked_conv2d_test_checked',
    'cuda_masked_conv2d_pack_test_checked',
  ])
    symlinkSync(join(root, 'build', file), join(copy, 'build', file));
  return copy;
}

/** A PATH with a few tools and without Node. */
function toolsWithoutNode(): string {
  const bin = join(folder, 'bin');
  mkdirSync(bin);
  for (const tool of ['sh', 'dirname', 'gzip', 'mkdir', 'chmod', 'mv', 'tar', 'ls', 'uname', 'sleep']) {
    const { stdout } = spawnSync('sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' });
    symlinkSync(stdout.trim(), join(bin, tool));
  }
  return bin;
}

describe('the kit', () => {
  it('is all that a run needs besides the repository', { timeout: 300_000 }, async () => {
    const copy = checkOut();
    await packKit(join(copy, '.gpu-kit'));
    const before: number = bytesBelow(join(copy, '.gpu-kit'));
    expect(before).toBeGreaterThan(40 * 2 ** 20);
    const out = join(folder, 'out', 'report.jsonl');
    const args = ['--emulated', '--minutes', '1', '--out', out];
    const only = ['facts', 'kernel-tests-ops', 'sampling-speed-own', 'sampling', 'quality'];
    const command = join(copy, 'scripts/gpu-acceptance/run');
    const run = () =>
      spawnSync(command, [...args, '--only', only.join()], {
        encoding: 'utf8',
        cwd: folder,
        env: { PATH: toolsPath, HOME: folder },
      });
    const toolsPath = toolsWithoutNode();
    const { status, stderr } = run();
    expect(status, stderr).toBe(0);
    const { runs, parts } = readReport(out);
    // `build` was not asked for, but nothing was unpacked yet.
    expect([...parts].map(([name, part]) => [name, part.status])).toEqual(
      ['facts', 'build', ...only.slice(1)].map((name) => [name, 'passed']),
    );
    expect(runs[0].commit).toBe(readFileSync(join(copy, '.gpu-kit/commit'), 'utf8').trim());
    // What a run leaves must not count when the kit is taken along again.
    expect(bytesBelow(join(copy, '.gpu-kit'))).toBe(before);
    expect(statSync(join(copy, 'build/kit/node')).size).toBe(statSync(process.execPath).size);

    // MNIST of the kit, by the Node of the kit.
    const quality = [
      join(copy, 'scripts/gpu-acceptance/quality.mjs'),
      '--device',
      'cpu',
      '--preset',
      'mnist-demo',
    ];
    const result = spawnSync(
      join(copy, 'build/kit/node'),
      [...quality, '--minutes', '0.1', '--out', join(folder, 'quality')],
      { encoding: 'utf8', cwd: folder, env: { PATH: toolsPath, HOME: folder } },
    );
    expect(result.status, result.stderr).toBe(0);
    expect(JSON.parse(result.stdout).test.images).toBe(10_000);
  });

  it('is asked for where it is missing', { timeout: 60_000 }, () => {
    const copy = join(folder, 'checkout');
    const bare = join(folder, 'bare');
    mkdirSync(bare);
    for (const name of ['scripts', 'src', 'test'])
      cpSync(join(copy, name), join(bare, name), { recursive: true });
    const out = join(folder, 'bare.jsonl');
    const { status, stderr } = spawnSync(
      process.execPath,
      [join(bare, 'scripts/gpu-acceptance/main.mjs'), '--emulated', '--only', 'facts,sampling', '--out', out],
      { encoding: 'utf8' },
    );
    expect(status).toBe(1);
    expect(stderr).toContain('neither node_modules nor .gpu-kit: run scripts/gpu-acceptance/run prepare');
    expect(readReport(out).parts.get('facts').status).toBe('passed');
  });
});
