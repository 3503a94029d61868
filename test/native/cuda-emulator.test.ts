// Tests the emulator that runs CUDA kernels without a GPU, and the rules that keep kernels runnable in it.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

describe('the CUDA emulator', () => {
  // Right kernels in order and in random schedules, all planted bugs, and what the runtime must refuse.
  it.each([
    ['plain', '0'],
    ['checked', '0'],
    ['checked', '1'],
  ])('%s, deferred %s', { timeout: 120_000 }, (kind, deferred) => {
    const program = `${root}build/cuda_emulator_test_${kind}`;
    expect(existsSync(program), 'run scripts/build/setup.mjs --tests').toBe(true);
    const env = { ...process.env, PIXELCNN_EMULATOR_DEFERRED: deferred };
    const run = spawnSync(program, { encoding: 'utf8', env });
    expect(run.stdout).toMatch(/^\d{3,} passed, 0 failed\n$/);
    expect(run.status).toBe(0);
  });

  // Its test expects exact sums where it does not ask for others itself.
  it('truncates sums where the environment says so', { timeout: 120_000 }, () => {
    const env = { ...process.env, PIXELCNN_EMULATOR_TRUNCATING_SUMS: '1' };
    const run = spawnSync(`${root}build/cuda_emulator_test_plain`, { encoding: 'utf8', env });
    const failures = new Set(run.stdout.match(/^ {2}got: .*/gm));
    expect([...failures]).toEqual(['  got:      wrong result: exact, small addends']);
  });
});

/** What only these files of cuda/ may contain, and what they offer instead. */
const rules = [
  { pattern: /\basm\b/, only: ['ptx.h'], instead: 'a function of ptx.h' },
  { pattern: /<<<|cudaLaunch\w*Kernel/, only: ['gpu.h'], instead: 'LAUNCH' },
  { pattern: /__shared__/, only: ['gpu.h'], instead: 'SHARED or DYNAMIC_SHARED' },
  { pattern: /__constant__|__managed__/, only: [], instead: 'a kernel argument' },
  {
    pattern: /#include <(cooperative_groups|cuda_(?!runtime\.h)\w+|mma)/,
    only: ['gpu.h'],
    instead: 'gpu.h',
  },
];

function brokenRules(file: string, text: string): string[] {
  return text.split('\n').flatMap((line, index) => {
    const code = line.replace(/"(?:[^"\\]|\\.)*"/g, '""').replace(/\/\/.*/, '');
    return rules
      .filter((rule) => rule.pattern.test(code) && !rule.only.includes(file))
      .map((rule) => `${file}:${index + 1}: use ${rule.instead}: ${line.trim()}`);
  });
}

describe('rules that keep kernels fit for the emulator', () => {
  it('hold in cuda/', () => {
    const files = readdirSync(`${root}cuda`, { recursive: true, encoding: 'utf8' }).filter((file) =>
      /\.(cu|h)$/.test(file),
    );
    expect(files).toEqual(expect.arrayContaining(['ptx.h', 'cudnn/api.h']));
    expect(files.flatMap((file) => brokenRules(file, readFileSync(`${root}cuda/${file}`, 'utf8')))).toEqual(
      [],
    );
  });

  it.each([
    'asm volatile("nop;");',
    'kernel<<<1, 32>>>(x);',
    'cudaLaunchCooperativeKernel(kernel, grid, block, pointers, 0, stream);',
    'extern __shared__ float tile[];',
    '__constant__ float table[256];',
    '#include <cooperative_groups.h>',
    '#include <cuda_fp16.h>',
  ])('notice %s', (line) => {
    expect(brokenRules('adam.cu', `// Adam.\n${line}\n`)).toHaveLength(1);
  });

  it('let comments, messages and the files that have them be', () => {
    expect(
      brokenRules('adam.cu', '// no asm here\ncheck("no __shared__ asm");\n#include <cuda_runtime.h>'),
    ).toEqual([]);
    expect(brokenRules('ptx.h', 'asm("nop;");')).toEqual([]);
  });
});
