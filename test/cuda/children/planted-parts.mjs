// Defines parts of an acceptance run that end in every possible way.
import { spawn } from 'node:child_process';
import { runCommand } from '../../../scripts/gpu-acceptance/part.mjs';

const forEver = 2 ** 30;

export function good({ count = 1, say }) {
  for (let row = 0; row < count; row += 1) say({ row });
}

export function refuses({ say }) {
  say({ row: 0 });
  say({ failure: 'a check that does not hold' });
  say({ row: 1 });
}

export function throws() {
  throw new Error('a planted exception');
}

export function crashes({ say }) {
  say({ row: 0 });
  process.stderr.write('last words\n');
  process.abort();
}

export function leavesOut({ say }) {
  say({ leftOut: 'a tool is not there' });
}

export function prints({ say }) {
  process.stdout.write('a library prints this\n[1]\n');
  say({ row: 0 });
}

/** Busy for ever, with a process that it started and that would outlive it. */
export function hangs({ say }) {
  const { pid } = spawn('sleep', [String(forEver)], { stdio: 'ignore' });
  say({ pids: [process.pid, pid] });
  for (;;) Math.random();
}

/** Waits for a command that says where it is and then nothing more. */
export async function commandHangs({ say }) {
  say({ row: 0 });
  await runCommand('sh', ['-c', `echo reached shape 7; sleep ${forEver}`]);
}

/** Ends, but what it started is in a session of its own and holds the output of the part open. */
export function leavesProcess({ say }) {
  const { pid } = spawn('sleep', ['20'], { stdio: 'inherit', detached: true });
  say({ pid });
}
