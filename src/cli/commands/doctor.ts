// Defines `pixelcnn doctor`, which describes this machine, checks that pixelcnn works on it, and says what to fix.
import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import os from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { thisMachine } from '../../device/native-binary.js';
import { z } from '../../options.js';
import { packageVersion } from '../../version.js';
import type { Command } from '../command.js';
import { outputOptions } from '../common.js';
import { paint, Terminal } from '../terminal.js';

/** One line of the report. */
export interface Finding {
  readonly name: string;
  /** `note` is for something that is missing but not needed. */
  readonly state: 'ok' | 'note' | 'failed';
  readonly text: string;
  readonly fix?: string;
}

const schema = z.strictObject(outputOptions);
const minimumNode = [20, 19] as const;
const marks = { ok: ['green', '✓'], note: ['yellow', '–'], failed: ['red', '✗'] } as const;

export const doctorCommand: Command<typeof schema> = {
  name: 'doctor',
  summary: 'Checks that pixelcnn works on this machine; exit code 1 if not.',
  schema,
  examples: ['pixelcnn doctor', 'pixelcnn doctor --json'],

  async run(options) {
    const terminal = new Terminal(options);
    terminal.live('checking');
    const findings = [
      { name: 'pixelcnn', state: 'ok' as const, text: packageVersion() },
      checkNode(),
      { name: 'platform', state: 'ok' as const, text: `${process.platform} ${process.arch}, ${libc()}` },
      { name: 'processors', state: 'ok' as const, text: await processors() },
      { name: 'memory', state: 'ok' as const, text: `${(os.totalmem() / 2 ** 30).toFixed(1)} GiB` },
      ...(await probeNative()),
      await gpuDriver(),
    ];
    const healthy = findings.every(({ state }) => state !== 'failed');
    const lines = findings.flatMap(({ name, state, text, fix }) => {
      const [style, mark] = marks[state];
      const line = `${paint(process.stdout, style, mark)} ${name.padEnd(12)} ${text}`;
      return fix === undefined ? [line] : [line, `  ${' '.repeat(12)} fix: ${fix}`];
    });
    const verdict = healthy ? 'pixelcnn works on this machine' : 'pixelcnn does not work on this machine yet';
    terminal.result([...lines, '', verdict].join('\n'), { healthy, findings });
    return healthy ? 0 : 1;
  },
};

function checkNode(): Finding {
  const { node, napi } = process.versions;
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const recent = major > minimumNode[0] || (major === minimumNode[0] && minor >= minimumNode[1]);
  const text = `${node}, Node-API ${napi}`;
  if (recent) return { name: 'node', state: 'ok', text };
  return { name: 'node', state: 'failed', text, fix: `install Node ${minimumNode.join('.')} or newer` };
}

function libc(): string {
  if (process.platform !== 'linux') return os.release();
  const { glibc } = thisMachine();
  return glibc === undefined ? 'not glibc' : `glibc ${glibc}`;
}

/**
 * Counts the processors of the machine and those that this process may use, and reads its control group's
 * quota.
 */
async function processors(): Promise<string> {
  const quota = await readFile('/sys/fs/cgroup/cpu.max', 'utf8').catch(() => 'max');
  const [share, period] = quota.trim().split(' ').map(Number);
  const limit = Number.isFinite(share) && period ? `, cgroup quota ${(share! / period).toFixed(1)}` : '';
  return `${os.cpus().length}, ${os.availableParallelism()} usable${limit}`;
}

async function gpuDriver(): Promise<Finding> {
  const text = await readFile('/proc/driver/nvidia/version', 'utf8').catch(() => undefined);
  if (text === undefined) return { name: 'gpu driver', state: 'note', text: 'no NVIDIA driver found' };
  return { name: 'gpu driver', state: 'ok', text: text.split('\n')[0]! };
}

/** Runs doctor-probe.ts in a child process. Returns its findings, and a further one if it crashes. */
async function probeNative(): Promise<Finding[]> {
  const file = fileURLToPath(new URL('../doctor-probe.js', import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, file], { stdio: ['ignore', 'pipe', 'pipe'] });
  const findings: Finding[] = [];
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint = (complaint + text).slice(-2000);
  });
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  for await (const line of createInterface({ input: child.stdout }))
    findings.push(JSON.parse(line) as Finding);
  const { code, signal } = await ended;
  if (code === 0) return findings;
  const after = findings.at(-1)?.name ?? 'the start';
  const crash: Finding = {
    name: 'native code',
    state: 'failed',
    text: `ended by ${signal ?? `exit code ${code}`} after ${after}${complaint === '' ? '' : `: ${complaint.trim()}`}`,
    fix:
      signal === 'SIGILL'
        ? 'try PIXELCNN_CPU_ISA=baseline, and report it with this output'
        : 'report it with this output',
  };
  return [...findings, crash];
}
