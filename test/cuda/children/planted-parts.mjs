// Parts of an acceptance run that end in every way there is.
import { spawn } from 'node:child_process';

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
