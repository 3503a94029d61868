// Tests the package in a realm of its own, as Vitest's vmThreads and Jest load it: codes of errors, arrays and
// signals work.
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import vm from 'node:vm';
import { describe, expect, it } from 'vitest';
import { systemError } from '../../src/errors.js';
import { errorCode, isAbortSignal, isError } from '../../src/realm.js';
import { packageRoot } from '../helpers/built-package.js';
import { runChild } from '../helpers/child.js';

describe.each(['threads', 'vmThreads'])('vitest --pool %s', (pool) => {
  it('sees the same codes, arrays and signals', async () => {
    const run = promisify(execFile)(
      process.execPath,
      [
        join(packageRoot, 'node_modules/vitest/vitest.mjs'),
        'run',
        '--root',
        join(packageRoot, 'test/process/children/realm'),
        '--reporter',
        'json',
      ],
      { env: { PATH: process.env.PATH, POOL: pool, NO_COLOR: '1' }, timeout: 60_000 },
    );
    const { stdout } = await run.catch((error: { stdout: string; stderr: string }) => error);
    const report = JSON.parse(stdout) as {
      numPassedTests: number;
      testResults: { message: string; assertionResults: { title: string; failureMessages: string[] }[] }[];
    };
    const failures = report.testResults.flatMap(({ message, assertionResults }) => [
      ...(message === '' ? [] : [message]),
      ...assertionResults.flatMap(({ title, failureMessages }) =>
        failureMessages.map((m) => `${title}: ${m}`),
      ),
    ]);
    expect(failures).toEqual([]);
    expect(report.numPassedTests).toBe(6);
  });
});

it('a context of node:vm, as Jest makes it with --experimental-vm-modules, sees the same', async () => {
  const { code, stdout, stderr } = await runChild('process/children/vm-modules.mjs', {
    nodeArgs: ['--experimental-vm-modules', '--no-warnings'],
  });
  expect([code, stderr]).toEqual([0, '']);
  const { gpu, ...seen } = JSON.parse(stdout);
  expect(gpu).toMatch(/^true ERR_/);
  expect(seen).toEqual({
    otherRealm: false,
    path: 'true ERR_DATASET_NOT_FOUND',
    model: 'true ENOENT',
    save: 'true ENOENT',
    disposed: 'true ERR_DISPOSED',
    shared: 'true ERR_INVALID_ARG_TYPE',
    same: true,
    uniforms: 1,
    aborted: 'enough',
  });
});

describe('values of another realm', () => {
  const other = <T>(code: string): T => vm.runInNewContext(code) as T;

  it('errors are errors, and their code is kept', () => {
    const foreign = other<Error>("Object.assign(new RangeError('full'), { code: 'ENOSPC' })");
    expect(foreign instanceof Error).toBe(false);
    expect([isError(foreign), errorCode(foreign)]).toEqual([true, 'ENOSPC']);
    expect(systemError('cannot write x', foreign)).toMatchObject({
      code: 'ENOSPC',
      message: 'cannot write x: full',
    });
    expect(systemError('x', 'a text')).toMatchObject({ code: 'ERR_IO', message: 'x: a text' });
    for (const value of [undefined, null, 'x', { code: 'ENOENT', message: 'x' }, () => 1]) {
      expect([isError(value), errorCode(value)]).toEqual([false, undefined]);
    }
    expect(errorCode(Object.assign(new Error('x'), { code: 5 }))).toBeUndefined();
  });

  it('a signal is known by what it is, not by its looks', () => {
    const { signal } = new AbortController();
    class Polyfill extends EventTarget {
      readonly aborted = false;
      readonly [Symbol.toStringTag] = 'AbortSignal';
    }
    expect([signal, AbortSignal.abort(), new Polyfill()].map(isAbortSignal)).toEqual([true, true, true]);
    const forged = [
      { aborted: false },
      { [Symbol.toStringTag]: 'AbortSignal' },
      new EventTarget(),
      null,
      'x',
    ];
    expect(forged.map(isAbortSignal)).toEqual(forged.map(() => false));
  });
});

/** Lines that ask for a class of the language, which is another one in another realm. */
function realmBound(source: string): string[] {
  const classes =
    'Error|[A-Z]\\w*Error|Uint8Array|Float32Array|ArrayBuffer|SharedArrayBuffer|Promise|AbortSignal|Map|Date';
  const own = /instanceof (PixelCnnError|UsageError|FullDiskError)\b/;
  return source
    .split('\n')
    .filter((line) => new RegExp(`instanceof (${classes})\\b`).test(line) && !own.test(line));
}

it('the library asks for no class of the language with instanceof (src/cli has a process of its own)', () => {
  const files = readdirSync(join(packageRoot, 'src'), { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.ts') && !name.startsWith('cli/') && name !== 'realm.ts',
  );
  expect(files.length).toBeGreaterThan(50);
  const found = files.flatMap((name) => realmBound(readFileSync(join(packageRoot, 'src', name), 'utf8')));
  expect(found).toEqual([]);
  expect(realmBound('if (cause instanceof Error) {\n}')).toHaveLength(1);
});
