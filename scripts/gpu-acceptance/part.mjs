// Provides what parts share: checks whose exception is their failure, and commands that leave the event loop free.
import { spawn } from 'node:child_process';
import { root } from '../steps.mjs';

/** Writes the row `about` with what `body` returns, or with the failure that it threw, and returns that row. */
export async function attempt(say, about, body) {
  let row;
  try {
    row = { ...about, ...(await body()) };
  } catch (error) {
    const name = Object.values(about).join(' ');
    row = { ...about, failure: `${name}: ${messageOf(error)}` };
  }
  say(row);
  return row;
}

export function messageOf(error) {
  if (!(error instanceof Error)) return String(error);
  const { message, code, remedy } = error;
  return [code, message, remedy].filter((text) => text !== undefined && text !== '').join(': ');
}

/** Runs a command to its end. `code` is the exit code, or says why there is none; `output` is all that it printed. */
export function runCommand(command, args, { env = {}, seconds } = {}) {
  return new Promise((resolve) => {
    const process_ = spawn(command, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(seconds === undefined ? {} : { timeout: 1000 * seconds, killSignal: 'SIGKILL' }),
    });
    let [stdout, output] = ['', ''];
    // Output is passed on as well, so that the report has what a command printed before it was killed with its part.
    const remember = (text) => {
      output += text;
      process.stderr.write(text);
    };
    process_.stdout.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      remember(text);
    });
    process_.stderr.setEncoding('utf8').on('data', remember);
    process_.on('error', (error) => resolve({ code: error.message, stdout, output }));
    process_.on('close', (code, signal) => resolve({ code: code ?? signal, stdout, output }));
  });
}

export function relativeL2(actual, expected) {
  let [difference, norm] = [0, 0];
  for (let i = 0; i < expected.length; i += 1) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  return difference === 0 ? 0 : Math.sqrt(difference / norm);
}
