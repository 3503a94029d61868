// Checks that the precisions which supports() in cuda/launch.h refuses are those that cuda/ptx.h has no
// instructions for, on every GPU that the library is built for.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const sourceOf = (file: string) => readFileSync(join(root, 'cuda', file), 'utf8');
const temporary = temporaryFolder('capabilities');

/** The function of ptx.h by which a precision multiplies; f32 needs none. */
const products = { Tf32: 'mma_m16n8k8_tf32', Bf16: 'mma_m16n8k16_bf16', F16: 'mma_m16n8k16_f16' };
const precisions = ['F32', 'Tf32', 'Bf16', 'F16'];
const capabilities = [75, 80, 86, 89, 90, 100, 103, 120];

function succeed(command: string, args: readonly string[], input = ''): string {
  const run = spawnSync(command, args, { input, encoding: 'utf8' });
  expect(run.status, run.stderr).toBe(0);
  return run.stdout;
}

/** `75 F32`, … for everything that supports() admits. */
function admitted(launch: string): string[] {
  const body = /constexpr bool supports\(.*?\n\}\n/s.exec(launch)?.[0];
  expect(body, 'supports() of cuda/launch.h').toBeDefined();
  const program = join(temporary, 'supports');
  const calls = capabilities.flatMap((capability) =>
    precisions.map(
      (precision) =>
        `  if (supports(${capability}, Precision::k${precision})) std::puts("${capability} ${precision}");`,
    ),
  );
  const text = `#include <cstdio>\n#include "${root}native/ops.h"\nusing namespace pixelcnn;\n${body}\nint main() {\n${calls.join('\n')}\n}\n`;
  succeed('c++', ['-std=c++20', '-x', 'c++', '-', '-o', program], text);
  return succeed(program, []).trim().split('\n');
}

/** `75 F32`, … for everything that ptx.h multiplies: its function does not trap there. */
function multiplied(ptx: string): string[] {
  const alone = ptx.replace(/^#include .*$|^#pragma once$/gm, '');
  return capabilities.flatMap((capability) => {
    const args = ['-E', '-P', '-x', 'c++', `-D__CUDA_ARCH__=${capability}0`, '-DCALL_SITE=', '-'];
    const functions = succeed('c++', args, alone).split('__device__ inline');
    const traps = (name: string) => {
      const body = functions.find((text) => text.trimStart().startsWith(`void ${name}(`));
      expect(body, `${name} in cuda/ptx.h`).toBeDefined();
      return body!.includes('__trap()');
    };
    const without = Object.entries(products).filter(([, name]) => traps(name));
    return precisions
      .filter((precision) => !without.some(([name]) => name === precision))
      .map((precision) => `${capability} ${precision}`);
  });
}

describe('precisions of GPUs', () => {
  it('are looked at for every GPU that there is machine code for', () => {
    const built = [...sourceOf('CMakeLists.txt').matchAll(/\b(\d+)-real\b/g)].map((match) =>
      Number(match[1]),
    );
    expect(built).toEqual(capabilities);
  });

  it('are multiplied by the functions that are looked at', () => {
    const dispatch = sourceOf('tile.h').replaceAll(/\s+/g, ' ');
    expect(dispatch).toContain(
      `if constexpr (precision == Precision::kTf32) ${products.Tf32}(sums, a, b); ` +
        `else if constexpr (precision == Precision::kBf16) ${products.Bf16}(sums, a, b); ` +
        `else ${products.F16}(sums, a, b);`,
    );
  });

  it('are admitted exactly where they can be multiplied', () => {
    const can = multiplied(sourceOf('ptx.h'));
    expect(can).toContain('75 F16');
    expect(can).not.toContain('75 Bf16');
    expect(admitted(sourceOf('launch.h'))).toEqual(can);
  });

  it('planted: a precision that is admitted too early', () => {
    const launch = sourceOf('launch.h').replace('compute_capability >= 80', 'compute_capability >= 75');
    expect(launch).not.toBe(sourceOf('launch.h'));
    const can = multiplied(sourceOf('ptx.h'));
    expect(admitted(launch).filter((name) => !can.includes(name))).toEqual(['75 Tf32', '75 Bf16']);
  });

  it('planted: a product that has an instruction from a later GPU on', () => {
    const ptx = sourceOf('ptx.h').replace('__CUDA_ARCH__ >= 800', '__CUDA_ARCH__ >= 900');
    expect(ptx).not.toBe(sourceOf('ptx.h'));
    const can = multiplied(ptx);
    const lost = admitted(sourceOf('launch.h')).filter((name) => !can.includes(name));
    expect(lost).toEqual(['80 Tf32', '80 Bf16', '86 Tf32', '86 Bf16', '89 Tf32', '89 Bf16']);
  });
});
