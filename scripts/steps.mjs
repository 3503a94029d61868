// Runs the steps of a script, each with a title and its time, and shows output only if a step fails or on request.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The repository's root. */
export const root = fileURLToPath(new URL('..', import.meta.url));

/** Prints a sentence and ends the process with exit code 1. */
export function fail(message) {
  process.stderr.write(`\n${message}\n`);
  process.exit(1);
}

/** Runs a command and returns whether it ended with exit code 0. */
export function succeeds(command, args) {
  return spawnSync(command, args, { cwd: root, stdio: 'ignore' }).status === 0;
}

/** Runs a command and returns its standard output, or undefined if it failed or was not done after `seconds`. */
export function outputOf(command, args, { seconds } = {}) {
  const limit = seconds === undefined ? {} : { timeout: 1000 * seconds, killSignal: 'SIGKILL' };
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8', ...limit });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/**
 * Runs a command as a step named `title`. Options: `show` passes its output through, `env` adds variables, `remedy`
 * is printed when it fails. Ends the process with the command's exit code when it fails.
 */
export function step(title, command, args, { show = false, env = {}, remedy = '' } = {}) {
  process.stderr.write(show ? `── ${title}\n` : `── ${title} … `);
  const start = performance.now();
  const result = spawnSync(command, args, {
    cwd: root,
    env: { ...process.env, ...env },
    stdio: show ? 'inherit' : ['ignore', 'pipe', 'pipe'],
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  if (result.status === 0) {
    process.stderr.write(show ? `── ${title}: ${seconds} s\n` : `${seconds} s\n`);
    return;
  }
  if (!show) process.stderr.write(`failed\n${result.stdout ?? ''}${result.stderr ?? ''}`);
  const why = result.error ? `: ${result.error.message}` : ` (exit code ${result.status ?? result.signal})`;
  process.stderr.write(`\n${title} failed${why}\n${remedy === '' ? '' : `${remedy}\n`}`);
  process.exit(result.status || 1);
}

/** Returns the path of a command of an npm package in node_modules. */
export function npmCommand(name) {
  return `${root}node_modules/.bin/${name}`;
}
