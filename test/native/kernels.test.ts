// Runs the native test programs, and checks that code of one instruction set never leaks into another.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const build = fileURLToPath(new URL('../../build/', import.meta.url));
const isas = readdirSync(`${build}CMakeFiles`).flatMap(
  (name) => /^kernels_(?!test)(\w+)\.dir$/.exec(name)?.[1] ?? [],
);

describe('kernels against float64 loops', () => {
  it('were built', () => {
    expect(existsSync(`${build}kernels_test`), 'run scripts/build/setup.mjs --tests').toBe(true);
    expect(isas.length).toBeGreaterThan(0);
  });

  it.each(isas)('%s', { timeout: 300_000 }, (isa) => {
    const run = spawnSync(`${build}kernels_test`, ['60', '7', isa], { encoding: 'utf8' });
    if (run.status === 2) {
      console.warn(`SKIPPED kernels of ${isa}: ${run.stdout.trim()}`);
      return;
    }
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(/\d+ passed, 0 failed/);
    expect(run.status).toBe(0);
  });
});

/**
 * Weak symbols outside the namespace of the instruction set. The linker keeps one copy of each; kept from an AVX-512
 * object, it would end a process on a machine without AVX-512.
 */
function sharedSymbols(nm: string, isa: string): string[] {
  return nm.split('\n').filter((line) => / [VWu] /.test(line) && !line.includes(`pixelcnn::cpu::${isa}::`));
}

describe('symbols of instruction-set objects', () => {
  it.each(isas)('%s keeps to its namespace', (isa) => {
    const folder = `${build}CMakeFiles/kernels_${isa}.dir/native/cpu/`;
    const objects = readdirSync(folder).filter((name) => name.endsWith('.o'));
    expect(objects.length).toBeGreaterThan(5);
    for (const object of objects) {
      const nm = spawnSync('nm', ['-C', '--defined-only', folder + object], { encoding: 'utf8' });
      expect(nm.status, nm.stderr).toBe(0);
      expect(sharedSymbols(nm.stdout, isa), object).toEqual([]);
    }
  });

  it('a shared inline function is noticed', () => {
    const nm = [
      '0000000000000000 W int const& std::max<int>(int const&, int const&)',
      '0000000000000000 W pixelcnn::cpu::avx512::helper()',
      '0000000000000010 T pixelcnn::cpu::avx512::run(pixelcnn::Adam const&, pixelcnn::cpu::Context&)',
    ].join('\n');
    expect(sharedSymbols(nm, 'avx512')).toHaveLength(1);
  });
});
