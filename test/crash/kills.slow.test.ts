// Tests kill -9 at random moments and at every call of a save: no checkpoint is torn, no acknowledged step is lost.
// PIXELCNN_KILLS sets the number of random kills (default 40; `npm run soak:kill` takes 500).
import { cp, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestRandom } from '../helpers/random.js';
import { type Fault, inspectFolder, type KillTime, lossesOf, trainChild } from './kills.js';

const kills = Number(process.env.PIXELCNN_KILLS ?? 40);
const endless = 1_000_000;

let root = '';
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'pixelcnn-kill-'));
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Most kills while it trains and saves, some while it starts and resumes. */
function randomTime(random: TestRandom): KillTime {
  return random.uniform() < 0.2
    ? { after: 'start', milliseconds: random.uniform() * 400 }
    : { after: 'ready', milliseconds: random.uniform() * 250 };
}

/** Kills and resumes runs in one folder. Stops early once `enough` losses are found. */
async function killRepeatedly(folder: string, count: number, seed: number, fault?: Fault, enough = 1000) {
  const random = new TestRandom(seed);
  const losses: string[] = [];
  let acknowledged = 0;
  let killed = 0;
  for (let i = 0; i < count && losses.length < enough; i += 1) {
    const kill = randomTime(random);
    const end = await trainChild(folder, endless, { kill, ...(fault && { fault }) });
    if (end.signal === 'SIGKILL') killed += 1;
    else losses.push(`kill ${i}: ended with ${end.code ?? end.signal}: ${end.stderr}`);
    const passedOver = end.lines.filter((line) => /^resumed .* skipped [^0]/.test(line));
    losses.push(...passedOver.map((line) => `kill ${i}: ${line}`));
    acknowledged = Math.max(acknowledged, end.acknowledged);
    losses.push(...lossesOf(await inspectFolder(folder), acknowledged).map((loss) => `kill ${i}: ${loss}`));
  }
  return { losses, acknowledged, killed };
}

describe('random moments', () => {
  it(`${kills} kills: nothing torn, nothing lost, and the end is that of a run in one go`, {
    timeout: 60_000 + kills * 10_000,
  }, async () => {
    const folder = join(root, 'random');
    const { losses, acknowledged, killed } = await killRepeatedly(folder, kills, 71);
    expect(losses).toEqual([]);
    expect(killed).toBe(kills);
    const { newest } = await inspectFolder(folder);
    console.log(`${killed} kills, last acknowledged step ${acknowledged}, newest step ${newest}`);
    expect(newest).toBeGreaterThan(kills / 4);

    const steps = newest + 3;
    const rest = await trainChild(folder, steps);
    expect([rest.code, rest.stderr]).toEqual([0, '']);
    expect((await inspectFolder(folder)).litter).toEqual([]);
    const whole = join(root, 'whole');
    expect((await trainChild(whole, steps)).code).toBe(0);
    const name = `step-${String(steps).padStart(8, '0')}.safetensors`;
    const same = (await readFile(join(folder, name))).equals(await readFile(join(whole, name)));
    expect(same, 'the last checkpoints differ').toBe(true);
  });

  it('would notice files written in place', { timeout: 300_000 }, async () => {
    const { losses } = await killRepeatedly(join(root, 'in-place'), 40, 72, { mode: 'in-place' }, 1);
    expect(losses.join()).toMatch(/unreadable|skipped/);
  });

  it('would notice a save acknowledged too early', { timeout: 300_000 }, async () => {
    const { losses } = await killRepeatedly(join(root, 'early'), 40, 73, { mode: 'early' }, 1);
    expect(losses.join()).toMatch(/was acknowledged/);
  });
});

describe('every call', () => {
  it('of opening a folder and of saving to it', { timeout: 600_000 }, async () => {
    const log = join(root, 'log');
    const callsOf = async (folder: string, steps: number) => {
      await rm(log, { force: true });
      expect((await trainChild(folder, steps, { fault: { mode: 'record', log } })).code).toBe(0);
      return (await readFile(log, 'utf8')).trim().split('\n');
    };
    // A run of two steps makes these calls, the last two to free the lock. Five more calls, and a run is in its third
    // save: killed there it leaves a lock, two checkpoints and a temporary file.
    const cut = (await callsOf(join(root, 'two'), 2)).length - 2 + 4;
    const left = join(root, 'left');
    const end = await trainChild(left, endless, { fault: { mode: 'kill', at: cut } });
    expect([end.signal, end.acknowledged]).toEqual(['SIGKILL', 2]);
    expect((await inspectFolder(left)).litter).toHaveLength(1);

    const copyOfLeft = async (name: string) => {
      const folder = join(root, name);
      await cp(left, folder, { recursive: true });
      return folder;
    };
    const calls = await callsOf(await copyOfLeft('recorded'), 4);
    for (const name of ['link', 'rm', 'open', 'write', 'sync', 'rename', 'close'])
      expect(calls).toContain(name);
    const killAt = async (at: number) => {
      const what = `call ${at}, ${calls[at]}`;
      const folder = await copyOfLeft(`call-${at}`);
      const killed = await trainChild(folder, 4, { fault: { mode: 'kill', at } });
      expect(killed.signal, `${what}: ${killed.stderr}`).toBe('SIGKILL');
      const acknowledged = Math.max(2, killed.acknowledged);
      expect(lossesOf(await inspectFolder(folder), acknowledged), what).toEqual([]);
      const rest = await trainChild(folder, 4);
      expect([rest.code, rest.stderr], `after ${what}`).toEqual([0, '']);
      const { newest, unreadable, litter } = await inspectFolder(folder);
      expect([newest, unreadable, litter], `after ${what}`).toEqual([4, [], []]);
      await rm(folder, { recursive: true });
    };
    for (let at = 0; at < calls.length; at += 2) {
      await Promise.all([at, at + 1].filter((index) => index < calls.length).map(killAt));
    }
    console.log(`killed at each of ${calls.length} calls: ${calls.join(' ')}`);
  });
});
