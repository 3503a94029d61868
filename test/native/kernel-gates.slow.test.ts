// Tests scripts/kernel-gates/main.mjs: the kernels are within their limits, and each kind of fault in a
// copy is named.
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { findNvcc } = (await import(`${root}scripts/kernel-gates/nvcc.mjs`)) as {
  findNvcc: () => { readonly reason?: string };
};

function gates(...args: string[]) {
  const run = spawnSync(process.execPath, [`${root}scripts/kernel-gates/main.mjs`, ...args], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  return { code: run.status, table: run.stdout, sentences: run.stderr };
}

interface Fault {
  readonly what: string;
  /** Compiled alone. */
  readonly file: string;
  /** What is changed: [file, text that stands in it once, other text]. */
  readonly edits?: readonly (readonly [string, string, string])[];
  readonly flags?: readonly string[];
  readonly sentence: RegExp;
}

const faults: Fault[] = [
  {
    what: 'a local array that is indexed at run time',
    file: 'masked_conv2d.cu',
    edits: [
      [
        'masked_conv2d.cu',
        'if (channel < channels) out[channel] = from_float<T>(bias[channel]);',
        'float held[32];\n  for (int i = 0; i < 8; ++i) held[(channel + i) % 32] = bias[i];\n  out[channel] = from_float<T>(held[channels % 32]);',
      ],
    ],
    sentence: /round_bias<float>: 128 bytes of stack frame, 0 are allowed\..*\(LDL\), 0 are allowed/s,
  },
  {
    what: 'registers that spill',
    file: 'adam.cu',
    flags: ['-maxrregcount=16'],
    sentence: /prepare_kernel: \d+ bytes of registers are spilled to memory, 0 are allowed/,
  },
  {
    what: 'a pointer into either of two memories',
    file: 'masked_conv2d.cu',
    edits: [
      [
        'masked_conv2d.cu',
        'if (channel < channels) out[channel] = from_float<T>(bias[channel]);',
        'SHARED(float, held, [256]);\n  held[threadIdx.x] = 1;\n  const float* from = channels % 2 ? held + channel % 256 : bias + channel;\n  out[channel] = from_float<T>(*from);',
      ],
    ],
    sentence: /round_bias<bf16>: 1 loads from generic addresses \(LD\), 0 are allowed/,
  },
  {
    what: 'a fragment loaded without ldmatrix',
    file: 'sample.cu',
    edits: [
      [
        'tile.h',
        'ldmatrix_x4(fragment, tile + (row + lane() % 16) * A::kStride + depth + lane() / 16 * A::kVector);',
        'memcpy(fragment, tile + (row + lane() % 16) * A::kStride + depth, sizeof fragment);',
      ],
    ],
    sentence: /sample_front_kernel<bf16, vectors>: 8 LDSM, its source implies 12/,
  },
  {
    what: 'a product left out',
    file: 'sample.cu',
    edits: [['tile.h', 'mma(sums_[m][n + 1], rows[m], {columns[2], columns[3]});', '']],
    sentence: /sample_front_kernel<tf32, vectors>: 8 HMMA, its source implies 16/,
  },
  {
    what: 'copies of 8 bytes in the place of 16',
    file: 'sample.cu',
    edits: [
      [
        'masked_conv2d.h',
        'cp_async<16>(to, from, count > 0);',
        'cp_async<8>(to, from, count > 0);\n    cp_async<8>(to + 8 / sizeof(T), from + 8 / sizeof(T), count > 0);',
      ],
    ],
    sentence: /sample_front_kernel<f16, vectors>: 2 LDGSTS of 16 bytes, its source implies 18/,
  },
  {
    what: 'pixels that are copied past L1',
    file: 'masked_conv2d_gradient.cu',
    edits: [['masked_conv2d_gradient.cu', 'copy_vector<Cache::kL1AndL2>(', 'copy_vector<Cache::kL2>(']],
    sentence:
      /weight_gradient<bf16, LargeTile, vectors, vectors>: 0 LDGSTS of 16 bytes through L1, its source implies 8/,
  },
  {
    what: 'a division in every step of a product',
    file: 'sample.cu',
    edits: [
      [
        'masked_conv2d_operands.h',
        'from_[i] += Tile::kStageDepth;',
        'from_[i] += Tile::kStageDepth + (left_[0] % (left_[i] | 3) == 1 ? 1 : 0);',
      ],
    ],
    sentence:
      /sample_front_kernel<bf16, vectors>: \d+\.\d instructions for each HMMA of its main loop, at most 8/,
  },
  {
    what: 'more registers',
    file: 'softmax_cross_entropy.cu',
    edits: [['cross_entropy.h', 'constexpr int kHeld = 8;', 'constexpr int kHeld = 16;']],
    sentence: /cross_entropy_kernel<float, true, true>: \d+ registers, at most 48 are allowed/,
  },
  {
    what: 'stages that leave room for fewer blocks',
    file: 'sample.cu',
    edits: [
      ['sample.cu', 'kDepthBytes = 128, kStages = 2;', 'kDepthBytes = 128, kStages = 4;'],
      ['sample.cu', 'kSampleBlocks = 3;', 'kSampleBlocks = 1;'],
    ],
    sentence:
      /sample_front_kernel<f16, \w+>: 2 blocks per multiprocessor, at least 3 are wanted \(\d+ registers, 128 threads, 99584 bytes/,
  },
  {
    what: 'launch bounds for more blocks than fit',
    file: 'sample.cu',
    edits: [['sample.cu', 'kSampleBlocks = 3;', 'kSampleBlocks = 4;']],
    sentence: /sample\.cu does not compile:.*static assertion failed/s,
  },
  {
    what: 'a kernel without limits, and limits without a kernel',
    file: 'sample.cu',
    edits: [
      ['sample.cu', '__global__ void next_front_kernel', '__global__ void later_front_kernel'],
      ['sample.cu', 'LAUNCH(next_front_kernel', 'LAUNCH(later_front_kernel'],
    ],
    sentence: /later_front_kernel: 0 lines of .*\n.*no kernel is \/\^next_front_kernel\$\/, which has limits/,
  },
];

/** A copy of cuda/ with the edits, beside native/. */
function copyWith(folder: string, edits: Fault['edits'] = []): string {
  const copy = join(folder, 'cuda');
  mkdirSync(folder);
  cpSync(`${root}cuda`, copy, { recursive: true });
  symlinkSync(`${root}native`, join(folder, 'native'));
  for (const [file, text, other] of edits) {
    const before = readFileSync(join(copy, file), 'utf8');
    if (before.split(text).length !== 2)
      throw new Error(`'${text}' does not stand once in ${file}: mend the fault`);
    writeFileSync(
      join(copy, file),
      before.replace(text, () => other),
    );
  }
  return copy;
}

describe.skipIf(skipAloud('limits of kernels', findNvcc().reason))(
  'limits of kernels',
  { timeout: 600_000 },
  () => {
    const temporary = temporaryFolder('kernel-gates');

    it('are kept on sm_90 and sm_80', () => {
      const { code, table, sentences } = gates('--all');
      expect(sentences).toBe('');
      expect(table).toMatch(/\n5\d\d kernels, nvcc [\d.]+: all within their limits\.\n$/);
      expect(code).toBe(0);
    });

    it('are compared without compiling again', () => {
      const kept = () => {
        const folder = `${root}build/kernel-gates`;
        return readdirSync(folder).map((name) => `${name} ${statSync(join(folder, name)).mtimeMs}`);
      };
      const before = kept();
      expect(gates('--all').code).toBe(0);
      expect(kept()).toEqual(before);
    });

    it.each(faults)('planted: $what', ({ file, edits, flags = [], sentence, what }) => {
      const folder = copyWith(
        join(temporary, String(faults.findIndex((fault) => fault.what === what))),
        edits,
      );
      const { code, sentences } = gates('--folder', folder, ...flags.map((flag) => `--flag=${flag}`), file);
      expect(sentences).toMatch(sentence);
      expect(code).toBe(1);
    });

    it('are not said to be kept where there is no kernel', () => {
      const { code, table, sentences } = gates('--folder', temporary);
      expect(table).toBe('');
      expect(sentences).toBe(`\nThere is no .cu file in ${temporary}.\n`);
      expect(code).toBe(1);
    });
  },
);
