// Tests that work goes on when the reader of stdout or stderr goes away or their disk is full, and the exit code
// says so.
import { spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { skipAloud } from '../helpers/skip.js';
import { onSmallDisk } from '../helpers/small-disk.js';
import { images, jsonLines, mainFile, stepsOf, testFolder, upTo } from './run-cli.js';

const { path, read } = testFolder();
const root = path();
const train = [...images, '--batch-size', '10', '--samples', '0', '--epochs', '2', '--device', 'cpu'];

/** Where a stream of the child goes: kept, to a file, or to a reader that leaves after its first bytes. */
type Target = 'keep' | 'leave' | { readonly file: string };

async function runWith(args: readonly string[], stdout: Target, stderr: Target) {
  const files = [stdout, stderr].map((target) =>
    typeof target === 'object' ? openSync(target.file, 'w') : ('pipe' as const),
  );
  const child = spawn(process.execPath, [mainFile, ...args], { cwd: root, stdio: ['ignore', ...files] });
  for (const file of files) if (typeof file === 'number') closeSync(file);
  const texts = ['', ''];
  for (const [i, stream] of [child.stdout, child.stderr].entries()) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      texts[i] += text;
      if ([stdout, stderr][i] === 'leave') stream.destroy();
    });
  }
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  return { code, stdout: texts[0]!, stderr: texts[1]! };
}

/** The run of 2 epochs of 9 steps is there as if nothing had happened. */
function expectComplete(out: string): void {
  expect(stepsOf(jsonLines(read(out, 'metrics.jsonl')))).toEqual(upTo(18));
  expect(JSON.parse(read(out, 'summary.json'))).toMatchObject({ steps: 18, stopped: false });
  expect(readdirSync(path(out))).toContain('model.safetensors');
  expect(readdirSync(path(out, 'checkpoints'))).toContain('step-00000018.safetensors');
}

const fullDevice = { file: '/dev/full' };
const skipped = skipAloud('output to /dev/full', existsSync('/dev/full') ? undefined : 'it is not there');

describe('train', () => {
  it('goes on when the reader of stdout goes away', async () => {
    const { code, stdout, stderr } = await runWith([...train, '--json', '--out', 'head'], 'leave', 'keep');
    expect(stdout).toContain('"type":"start"');
    expect(stderr).toMatch(
      /the reader of stdout went away; training goes on, head\/metrics.jsonl has every line\n/,
    );
    expect(stderr).toMatch(/error: the reader of stdout went away; the run itself is complete\n/);
    expect(code).toBe(74);
    expectComplete('head');
  });

  it('goes on when the reader of stderr goes away', async () => {
    const { code } = await runWith([...train, '--out', 'notes'], 'keep', 'leave');
    expect(code).toBe(74);
    expectComplete('notes');
  });

  it('goes on when both are gone', async () => {
    const { code } = await runWith([...train, '--json', '--out', 'both'], 'leave', 'leave');
    expect(code).toBe(74);
    expectComplete('both');
  });

  it.skipIf(skipped)('goes on when stdout is on a full disk', async () => {
    const { code, stderr } = await runWith([...train, '--json', '--out', 'full'], fullDevice, 'keep');
    expect(stderr).toContain('cannot write to stdout: ENOSPC');
    // Once when it happens, once at the end.
    expect(stderr.split('ENOSPC').length - 1).toBe(2);
    expect(stderr).not.toContain('    at ');
    expect(code).toBe(74);
    expectComplete('full');
  });

  it.skipIf(skipped)('goes on when stderr is on a full disk, and all lines reach stdout', async () => {
    const { code, stdout } = await runWith([...train, '--out', 'noted'], 'keep', fullDevice);
    expect([code, stdout]).toEqual([74, '']);
    expectComplete('noted');
    const both = await runWith([...train, '--out', 'json', '--json'], 'keep', fullDevice);
    // Nothing was to be said on stderr.
    expect(both.code).toBe(0);
    expect(stepsOf(jsonLines(both.stdout))).toEqual(upTo(18));
    expectComplete('json');
  });

  it('notices the bytes that a nearly full disk does not take', ({ skip }) =>
    onSmallDisk(2 ** 16, skip, async (disk) => {
      const file = join(disk, 'out');
      writeFileSync(join(disk, 'filler'), new Uint8Array(2 ** 16 - 4096));
      const { code, stderr } = await runWith([...train, '--json', '--out', 'cut'], { file }, 'keep');
      expect(stderr).toContain('cannot write to stdout: ENOSPC');
      expect(code).toBe(74);
      expectComplete('cut');
      // What was written is whole up to where it ends.
      const written = readFileSync(file, 'utf8').split('\n').slice(0, -1);
      const steps = written.map((line) => JSON.parse(line) as { type: string; step: number });
      expect(stepsOf(steps)).toEqual(upTo(stepsOf(steps).length));
      expect(written.length).toBeGreaterThan(5);
    }));

  it('has exit codes of its own for failures and signals', async () => {
    const { code } = await runWith([...train, '--out', 'x', '--learning-rate', 'x'], 'keep', 'leave');
    expect(code).toBe(2);
  });
});

describe('other commands', () => {
  const model = 'head/model.safetensors';
  const evaluate = ['evaluate', model, '--data', 'mnist', '--limit', '20', '--device', 'cpu'];

  it('take a reader that goes away for no error', async () => {
    for (const args of [['inspect', model, '--json'], ['--help'], evaluate]) {
      const { code, stderr } = await runWith(args, 'leave', 'keep');
      expect([code, stderr.includes('error')], args.join(' ')).toEqual([0, false]);
    }
  });

  it.skipIf(skipped)('fail when their result cannot be written, in one sentence', async () => {
    const help = [['--help'], ['train', '--help']];
    for (const args of [['inspect', model], ...help, [...evaluate, '--json'], [...evaluate, '--quiet']]) {
      const { code, stderr } = await runWith(args, fullDevice, 'keep');
      expect(code, args.join(' ')).toBe(74);
      expect(stderr).toMatch(/^error: cannot write to stdout: ENOSPC: no space left on device, write\n$/);
    }
  });

  it('notice that a nearly full disk has taken a part only', ({ skip }) =>
    onSmallDisk(2 ** 16, skip, async (disk) => {
      const [file, filler] = [join(disk, 'out'), join(disk, 'filler')];
      writeFileSync(filler, new Uint8Array(2 ** 16 - 4096));
      // Help for train is longer than the block that is left.
      const { code, stderr } = await runWith(['train', '--help'], { file }, 'keep');
      expect(readFileSync(file).length).toBe(4096);
      expect([code, stderr]).toEqual([74, expect.stringContaining('ENOSPC')]);
    }));
});

describe('a reader that is slow', () => {
  it('bounds what waits for it, and learns of what was left out', async () => {
    const module = new URL('../../dist/cli/output-stream.js', import.meta.url);
    const script = `
      import { stderr, stdout } from ${JSON.stringify(pathToFileURL(fileURLToPath(module)).href)};
      const line = 'x'.repeat(1023) + '\\n';
      for (let i = 0; i < 40_000; i += 1) stdout.write(line);
      stderr.write(process.stdout.writableLength + ' ' + stdout.loss?.code + ' ' + stdout.loss?.sentence + '\\n');
      process.on('message', () => {});
      await stdout.flush();
      process.exitCode = 7;
      process.disconnect();
    `;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    const said = await new Promise<string>((resolve) => {
      child.stderr!.setEncoding('utf8').once('data', resolve);
    });
    const [, waiting, code, leftOut] =
      /^(\d+) (\S+) the reader of stdout is too slow: (\d+) lines were left out\n$/.exec(said) ?? [];
    expect(code, said).toBe('ERR_SLOW_READER');
    expect(Number(waiting)).toBeGreaterThan(2 ** 23);
    expect(Number(waiting)).toBeLessThan(2 ** 24 + 2048);
    let read = 0;
    child.stdout!.on('data', (bytes: Buffer) => {
      read += bytes.length;
    });
    expect(await new Promise((resolve) => child.on('close', resolve))).toBe(7);
    // All lines but those that were said to be left out.
    expect(read).toBe(1024 * (40_000 - Number(leftOut)));
  });
});
