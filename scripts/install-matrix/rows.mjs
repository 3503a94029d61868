// Runs the rows of the install matrix: each is a shell command in a folder, with a check of its output.
import { spawnSync } from 'node:child_process';

/** Throws with `message` unless `condition` holds. */
export function require(condition, message) {
  if (!condition) throw new Error(message);
}

/** Returns undefined if a row that took `seconds` kept its limit, else a complaint. */
export function timeComplaint(seconds, limit) {
  return seconds < limit ? undefined : `took ${seconds.toFixed(0)} s of ${limit.toFixed(0)} s`;
}

export class Rows {
  passed = 0;
  failed = 0;

  /** Runs a command. The row passes if it exits with 0 and `check` of its output does not throw. Returns seconds. */
  run(name, { folder, env, command, check = () => {} }) {
    const began = performance.now();
    const result = spawnSync('/bin/sh', ['-c', `set -e\n${command}`], { cwd: folder, env, encoding: 'utf8' });
    const seconds = (performance.now() - began) / 1000;
    let complaint = result.status === 0 ? undefined : `exit code ${result.status ?? result.signal}`;
    try {
      if (complaint === undefined) check(result.stdout);
    } catch (error) {
      complaint = error.message;
    }
    this.record(`${name.padEnd(48)} ${seconds.toFixed(1).padStart(5)} s`, complaint);
    if (complaint !== undefined) process.stdout.write(`$ ${command}\n${result.stdout}${result.stderr}\n`);
    return seconds;
  }

  /** Counts and prints a row, which passes if there is no complaint. */
  record(name, complaint) {
    this[complaint === undefined ? 'passed' : 'failed'] += 1;
    process.stdout.write(complaint === undefined ? `✓ ${name}\n` : `✗ ${name}: ${complaint}\n`);
  }

  skip(name, reason) {
    process.stdout.write(`– ${name} SKIPPED: ${reason}\n`);
  }
}
