// Tests that docs/errors.md explains the codes that the sources throw, and no others.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runCheck, sourceCopy } from '../helpers/source-copy.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const page = 'docs/errors.md';
const copy = sourceCopy('errors.md');

/** What the check says of the copy while one of its files has another text. */
function complaintOf(file: string, change: (text: string) => string): string {
  const path = join(copy, file);
  const text = readFileSync(path, 'utf8');
  const changed = change(text);
  expect(changed).not.toBe(text);
  writeFileSync(path, changed);
  try {
    const { status, stderr } = runCheck(copy, 'list-errors');
    expect(status === 0).toBe(stderr === '');
    return stderr;
  } finally {
    writeFileSync(path, text);
  }
}

describe('docs/errors.md', () => {
  it('is up to date', () => {
    expect(runCheck(root, 'list-errors').stderr).toBe('');
    expect(runCheck(copy, 'list-errors').stderr).toBe('');
  });

  it.each([
    ['src/errors.ts', "\nexport const thrown = () => new PixelCnnError('ERR_PLANTED', 'a sentence');\n"],
    ['src/errors.ts', "\nexport const code = (a: boolean) => (a ? 'ERR_IO' : 'JPEG_PLANTED');\n"],
    [
      'native/error.h',
      '\n[[noreturn]] inline void planted() { throw Error("ERR_PLANTED", "a sentence"); }\n',
    ],
    ['cuda/api.cu', '\nPIXELCNN_CHECK(true, "ERR_PLANTED", "a sentence");\n'],
    ['native/error.h', '\n  *error = Error("ERR_PLANTED", "a sentence");\n'],
    ['src/errors.ts', "\n/** @internal */ export const code = 'ERR_PLANTED';\n"],
    ['src/errors.ts', "\nexport const code = 'CUDA_PLANTED';\n"],
  ])('planted in %s: a code without a row', (file, line) => {
    expect(complaintOf(file, (text) => text + line)).toMatch(
      new RegExp(`does not explain (ERR|JPEG|CUDA)_PLANTED of ${file}`),
    );
  });

  it.each([
    ["if (code === 'ERR_OF_NODE') return;"],
    ["if ('ERR_OF_NODE' !== code) return;"],
    ["    case 'ERR_OF_NODE':"],
    ["/**\n * Throws 'ERR_OF_NODE' sometimes.\n */"],
    ["  // 'ERR_OF_NODE' is thrown elsewhere."],
  ])('%s throws no code', (line) => {
    expect(complaintOf('src/errors.ts', (text) => `${text}\n${line}\n`)).toBe('');
  });

  it('planted: a row of a code that is gone', () => {
    const row = '| `ERR_GONE` | It meant something. | Nothing. | [src](../src) |\n';
    expect(complaintOf(page, (text) => text.replace(/^\| `ERR_IO`/m, `${row}$&`))).toContain(
      'no source throws ERR_GONE any more',
    );
  });

  it('planted: two rows of one code', () => {
    expect(complaintOf(page, (text) => text.replace(/^\| `ERR_IO` .*\n/m, '$&$&'))).toContain(
      'ERR_IO is explained twice',
    );
  });

  it('planted: a row without a remedy', () => {
    const change = (text: string) => text.replace(/^(\| `ERR_IO` \| [^|]*\| )[^|]*\|/m, '$1 |');
    expect(complaintOf(page, change)).toContain('the row of ERR_IO must say what it means and what to do');
  });

  it('planted: a row that names another place, which is mended without --check', () => {
    const change = (text: string) => text.replace(/^(\| `ERR_IO` .*) \| .* \|$/m, '$1 | [src](../src) |');
    expect(complaintOf(page, change)).toContain('Run `npm run format`');
    const text = readFileSync(join(copy, page), 'utf8');
    writeFileSync(join(copy, page), change(text));
    expect(runCheck(copy, 'list-errors', []).stderr).toBe('');
    expect(readFileSync(join(copy, page), 'utf8')).toBe(text);
  });

  it.each([
    "'ERR_' + kind",
    `\`ERR_\${kind}\``,
    `\`PNG_CHUNK_\${kind}\``,
    `\`\${kind}_LIMIT\``,
    "kind + '_TOO_LARGE'",
  ])('planted: a code that is put together, %s', (code) => {
    expect(complaintOf('src/errors.ts', (text) => `${text}\nexport const code = ${code};\n`)).toContain(
      'is put together',
    );
  });
});
