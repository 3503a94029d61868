// Kills a run that saves after every step, and checks what its folder holds then.
import { spawn } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { readTrainingCheckpoint } from '../../src/train/checkpoint-folder.js';

const script = fileURLToPath(new URL('children/train.mjs', import.meta.url));
const faults = pathToFileURL(fileURLToPath(new URL('children/faults.mjs', import.meta.url))).href;

/** A fault for children/faults.mjs. */
export interface Fault {
  readonly mode: 'record' | 'kill' | 'fail' | 'full' | 'in-place' | 'early';
  readonly at?: number;
  readonly code?: string;
  readonly log?: string;
}

export interface RunEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly lines: readonly string[];
  readonly stderr: string;
  /** The newest step that the run said was saved, 0 for none. */
  readonly acknowledged: number;
}

/** When to kill: so long after the start of the process, or after it said that it trains. */
export interface KillTime {
  readonly after: 'start' | 'ready';
  readonly milliseconds: number;
}

/** Trains in `folder` up to `steps`, with a fault, or until killed. */
export function trainChild(
  folder: string,
  steps: number,
  options: { fault?: Fault; kill?: KillTime } = {},
): Promise<RunEnd> {
  const { fault, kill } = options;
  const preload = fault === undefined ? [] : ['--import', faults];
  const env = {
    PATH: process.env.PATH ?? '',
    PIXELCNN_FAULT: JSON.stringify({ folder, ...fault }),
  };
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...preload, script, folder, String(steps)], {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 120_000,
      killSignal: 'SIGABRT',
    });
    const killLater = () => setTimeout(() => child.kill('SIGKILL'), kill?.milliseconds);
    if (kill?.after === 'start') killLater();
    let [stdout, stderr, armed] = ['', '', false];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
      if (kill?.after !== 'ready' || armed || !stdout.includes('ready')) return;
      armed = true;
      killLater();
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const lines = stdout.split('\n').slice(0, -1);
      const saved = lines.flatMap((line) => (line.startsWith('saved ') ? [Number(line.slice(6))] : []));
      resolve({ code, signal, lines, stderr, acknowledged: Math.max(0, ...saved) });
    });
  });
}

export interface FolderState {
  /** 0 for none. */
  readonly newest: number;
  /** Names of checkpoints that cannot be read, and why. */
  readonly unreadable: readonly string[];
  /** Names of files that are neither checkpoints nor the lock. */
  readonly litter: readonly string[];
}

/** What a checkpoint folder holds, every file read and checked. */
export async function inspectFolder(folder: string): Promise<FolderState> {
  const names = await readdir(folder).catch(() => [] as string[]);
  const unreadable: string[] = [];
  let newest = 0;
  for (const name of names.filter((other) => other.endsWith('.safetensors'))) {
    try {
      await readTrainingCheckpoint(join(folder, name));
      newest = Math.max(newest, Number(/^step-(\d+)/.exec(name)?.[1] ?? 0));
    } catch (error) {
      unreadable.push(`${name}: ${error}`);
    }
  }
  const litter = names.filter((name) => !name.endsWith('.safetensors') && name !== 'run.lock');
  return { newest, unreadable, litter };
}

/** The faults of a folder after a run in it ended: what kill -9 must never do. */
export function lossesOf(state: FolderState, acknowledged: number): string[] {
  const lost = state.newest < acknowledged;
  return [
    ...state.unreadable.map((what) => `unreadable: ${what}`),
    ...(lost ? [`step ${acknowledged} was acknowledged, the newest is ${state.newest}`] : []),
  ];
}
