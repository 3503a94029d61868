// Tests `pixelcnn train` on a full disk: it reports it once, waits for space at the end, and always says how it
// ended.
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { onSmallDisk } from '../helpers/small-disk.js';
import { jsonLines, stepsOf, testFolder, upTo } from './run-cli.js';

const { start, run, path } = testFolder();
const train = ['train', '--data', 'mnist', '--limit', '80', '--batch-size', '10', '--samples', '0'];
const model = ['--hidden-channels', '16', '--layers', '4', '--kernel-size', '3', '--device', 'cpu'];
/** Bytes of a checkpoint of this model. */
const checkpoint = 113_000;

/** Starts a run and calls `then` when it waits for space. */
async function whenItWaits(args: readonly string[], then: (kill: (name: NodeJS.Signals) => void) => void) {
  const { child, ended } = start(args);
  let [text, called] = ['', false];
  child.stderr!.on('data', (part: Buffer) => {
    text += part;
    if (called || !text.includes('waiting for space')) return;
    called = true;
    then((name) => child.kill(name));
  });
  const end = await ended;
  expect(called, end.stderr).toBe(true);
  return end;
}

/** Takes all the room that there is. */
function fillUp(file: string): void {
  try {
    writeFileSync(file, new Uint8Array(2 ** 19));
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' });
  }
}

const count = (text: string, part: string) => text.split(part).length - 1;

describe('a run folder that cannot be written to', () => {
  it('does not end the run: samples that have no folder are told of once', async () => {
    mkdirSync(path('blocked'));
    writeFileSync(path('blocked', 'samples'), 'a file where the folder should be');
    const flags = ['--validation', '0', '--epochs', '3', '--samples', '1', '--out', 'blocked'];
    const { code, stderr } = await run([...train, ...model, ...flags]);
    expect([code, count(stderr, 'samples not saved, training goes on')]).toEqual([0, 1]);
  });
});

describe('a run folder on a full disk', () => {
  it('is told of once, and the last save waits until there is space', ({ skip }) =>
    onSmallDisk(2 ** 19, skip, async (disk) => {
      const [out, filler] = [join(disk, 'run'), join(disk, 'filler')];
      writeFileSync(filler, new Uint8Array(2 ** 19 - 65_536));
      const flags = ['--validation', '0', '--epochs', '2', '--checkpoint-every', '1', '--out', out];
      const { code, stderr } = await whenItWaits([...train, ...model, ...flags], () => rmSync(filler));
      expect(code).toBe(0);
      // 16 saves failed.
      expect(count(stderr, 'checkpoint not saved')).toBe(1);
      expect(count(stderr, 'waiting for space')).toBe(1);
      expect(stderr).toMatch(
        /waiting for space, 10 minutes at most, .* 1?\d\d,\d{3} bytes are missing on that disk\n/,
      );
      expect(stderr).toContain('checkpoint saved again\n');
      expect(stepsOf(jsonLines(readFileSync(join(out, 'metrics.jsonl'), 'utf8')))).toEqual(upTo(16));
      expect(readdirSync(join(out, 'checkpoints'))).toEqual(['step-00000016.safetensors']);
      expect(readdirSync(out)).toEqual(expect.arrayContaining(['model.safetensors', 'summary.json']));
    }));

  it('ends with the steps that are lost when the person gives up', ({ skip }) =>
    onSmallDisk(2 ** 19, skip, async (disk) => {
      const out = join(disk, 'run');
      const flags = ['--validation', '0', '--out', out];
      expect((await run([...train, ...model, ...flags, '--epochs', '1'])).code).toBe(0);
      const used = checkpoint + 37_504 + 10 * 4096;
      writeFileSync(join(disk, 'filler'), new Uint8Array(2 ** 19 - used - 65_536));
      const resume = ['train', '--resume', '--out', out, '--epochs', '3'];
      const { code, stderr } = await whenItWaits(resume, (kill) => kill('SIGINT'));
      expect(code).toBe(1);
      expect(stderr).toMatch(/error: train: steps 9 to 24 are lost: cannot save .*step-00000024/);
      expect(stderr).toMatch(
        /fix: make room on the disk and resume: .*step-00000008.safetensors holds step 8/,
      );
      expect(readdirSync(join(out, 'checkpoints'))).toEqual(['step-00000008.safetensors']);
    }));

  it('names the steps whose metrics it had no room for', ({ skip }) =>
    onSmallDisk(2 ** 19, skip, async (disk) => {
      const out = join(disk, 'run');
      const flags = ['--validation', '0', '--out', out];
      expect((await run([...train, ...model, ...flags, '--epochs', '1'])).code).toBe(0);
      fillUp(join(disk, 'filler'));
      // Room for the lock and the config, and for a few lines.
      truncateSync(join(disk, 'filler'), statSync(join(disk, 'filler')).size - 3 * 4096);
      const resume = ['train', '--resume', '--out', out, '--epochs', '10', '--quiet'];
      const { code, stderr } = await whenItWaits(resume, (kill) => kill('SIGINT'));
      expect(code).toBe(1);
      expect(stderr).toMatch(/steps 9 to 80 are lost/);
      expect(stderr).toMatch(
        /run\/metrics\.jsonl lacks lines of steps \d+ to 80: they could not be written\n/,
      );
    }));

  it('of the model at the end loses nothing: the checkpoint is there, and --resume writes the rest', ({
    skip,
  }) =>
    onSmallDisk(Math.ceil(checkpoint / 4096) * 4096 + 8 * 4096, skip, async (disk) => {
      const out = join(disk, 'run');
      const flags = ['--validation', '0', '--steps', '2', '--out', out];
      const { code, stderr } = await whenItWaits([...train, ...model, ...flags], (kill) => kill('SIGTERM'));
      expect(code).toBe(1);
      expect(stderr).toMatch(/error: cannot save .*model.safetensors .* bytes are missing on that disk/);
      expect(stderr).toMatch(
        /the weights are safe: .*step-00000002.safetensors holds step 2; when there is room, --resume --out/,
      );
      expect(existsSync(join(out, 'model.safetensors'))).toBe(false);

      // A disk that has room now: the same folder on another one.
      await onSmallDisk(2 ** 20, skip, async (room) => {
        cpSync(out, join(room, 'run'), { recursive: true });
        const resumed = await run(['train', '--resume', '--out', join(room, 'run')]);
        expect(resumed.code).toBe(0);
        expect(readdirSync(join(room, 'run'))).toEqual(
          expect.arrayContaining(['model.safetensors', 'summary.json']),
        );
      });
    }));

  it('that fills up at the summary is waited for, too', ({ skip }) =>
    onSmallDisk(2 ** 19, skip, async (disk) => {
      const [out, filler] = [join(disk, 'run'), join(disk, 'filler')];
      const flags = ['--validation', '0', '--steps', '2', '--test', 'mnist:train', '--json', '--out', out];
      const { child, ended, said } = start([...train, ...model, ...flags]);
      let heard = '';
      child.stderr!.on('data', (part: Buffer) => {
        heard += part;
        if (heard.includes('waiting for space')) rmSync(filler, { force: true });
      });
      await said('"type":"testing"');
      fillUp(filler);
      child.kill('SIGINT');
      const { code, stderr } = await ended;
      expect([code, count(stderr, 'waiting for space')]).toEqual([130, 1]);
      expect(JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8'))).toMatchObject({ test: null });
    }));
});
