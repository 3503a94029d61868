// Runs parts one after the other, each in a separate process with a time limit, so that none can hide another.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const child = fileURLToPath(new URL('child.mjs', import.meta.url));
const rowsShown = 5;

/**
 * Runs `parts` (see parts.mjs) in `seconds`, counted from the start of this process. Returns the exit code: 0, 1 if a part
 * failed or timed out, 128 and more if a signal ended the run.
 */
export async function runParts(parts, { report, seconds, commit, environment, settings }) {
  const say = (line) => process.stderr.write(`${line}\n`);
  // The run goes on when the reader of its output goes away.
  process.stderr.on('error', () => undefined);
  const running = { kill: () => undefined, signal: undefined };
  const names = ['SIGTERM', 'SIGINT', 'SIGHUP'];
  const stop = (name) => {
    running.signal ??= name;
    running.kill();
  };
  for (const name of names) process.on(name, stop);

  let failed = false;
  for (const [i, part] of parts.entries()) {
    const left = seconds - performance.now() / 1000;
    const { needs, limit } = timesOf(part, settings);
    const title = `[${i + 1}/${parts.length}] ${part.name}`;
    const end = (result) => report.append({ part: part.name, ...result, commit });
    if (running.signal !== undefined || left < needs) {
      const reason = running.signal ?? `it needs ${needs} s, ${Math.max(0, left).toFixed(1)} s are left`;
      say(`${title}: left out: ${reason}`);
      end({ status: 'left out', reason, seconds: 0, failures: [] });
      continue;
    }
    const allowed = Math.min(limit, left);
    const rest = Number.isFinite(left) ? `, ${left.toFixed(0)} s left` : '';
    say(`${title}: at most ${allowed.toFixed(0)} s${rest}`);
    report.append({ part: part.name, started: new Date().toISOString() });
    const result = await runPart(part, {
      running,
      allowed,
      limit,
      env: { ...process.env, ...environment, ...part.env },
      settings: { ...settings, seconds: allowed },
      onRow: (row) => report.append({ part: part.name, ...row }),
      say,
    });
    end(result);
    failed ||= ['failed', 'timed out', 'cut off'].includes(result.status);
    for (const failure of result.failures.slice(0, rowsShown)) say(`    FAILED ${failure.slice(0, 400)}`);
    say(`    ${result.status}${result.reason ? `: ${result.reason}` : ''}, ${result.seconds} s`);
  }
  for (const name of names) process.off(name, stop);
  if (running.signal !== undefined) return 128 + constants.signals[running.signal];
  return failed ? 1 : 0;
}

/** Returns the seconds that must be left to start a part, and those that it may take. */
function timesOf(part, { emulated }) {
  return emulated
    ? { needs: part.emulatedSeconds, limit: part.emulatedLimit }
    : { needs: part.seconds, limit: part.limit };
}

/** Runs one part and returns how it ended. */
async function runPart(part, { running, allowed, limit, env, settings, onRow, say }) {
  const start = performance.now();
  const task = { module: part.module, run: part.run, settings: { ...settings, ...part.options } };
  const process_ = spawn(process.execPath, [child, JSON.stringify(task)], {
    env,
    // The part has its own process group, so that processes that it starts end with it.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const killGroup = () => {
    try {
      process.kill(-process_.pid, 'SIGKILL');
    } catch {
      // the group has ended already
    }
  };
  running.kill = killGroup;
  if (running.signal !== undefined) killGroup();
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    killGroup();
  }, 1000 * allowed);

  const failures = [];
  let reason;
  let shown = 0;
  let output = '';
  const remember = (text) => {
    output = (output + text).slice(-4000);
  };
  process_.stderr.setEncoding('utf8').on('data', remember);
  const rows = createInterface({ input: process_.stdout });
  rows.on('line', (line) => {
    const row = parseRow(line);
    if (row === undefined) return remember(`${line}\n`);
    onRow(row);
    if (row.leftOut !== undefined) reason = row.leftOut;
    if (row.failure !== undefined) failures.push(row.failure);
    if (row.leftOut !== undefined || row.failure !== undefined) return;
    shown += 1;
    if (shown <= rowsShown) say(`    ${inShort(row)}`);
  });
  const { code, signal } = await new Promise((resolve) => {
    process_.on('error', (error) => resolve({ code: error.message, signal: null }));
    process_.on('exit', (code, signal) => {
      // A process that the part left behind would hold its pipes open.
      killGroup();
      resolve({ code, signal });
    });
  });
  // A process that moved to another session may hold them open for ever.
  await Promise.race([
    Promise.all([closed(rows), closed(process_.stderr)]),
    // This timer must not keep the process alive.
    delay(2000, undefined, { ref: false }),
  ]);
  process_.stdout.destroy();
  process_.stderr.destroy();
  clearTimeout(timer);
  running.kill = () => undefined;
  if (shown > rowsShown) say(`    … ${shown - rowsShown} more in the report`);

  const seconds = Math.round((performance.now() - start) / 100) / 10;
  if (running.signal !== undefined || timedOut) {
    const [status, why] =
      running.signal !== undefined
        ? ['cut off', running.signal]
        : [allowed < limit ? 'cut off' : 'timed out', `its limit of ${allowed.toFixed(1)} s`];
    return { status, reason: `ended by ${why}`, seconds, failures, output: output.slice(-1000) };
  }
  if (code !== 0) failures.push(`ended by ${signal ?? `exit code ${code}`}: ${output.trim().slice(-2000)}`);
  if (failures.length > 0) return { status: 'failed', seconds, failures };
  if (reason !== undefined) return { status: 'left out', reason, seconds, failures };
  return { status: 'passed', seconds, failures };
}

/** Parses a row. Other lines, which libraries print, give undefined. */
function parseRow(line) {
  try {
    const row = JSON.parse(line);
    return typeof row === 'object' && row !== null && !Array.isArray(row) ? row : undefined;
  } catch {
    return undefined;
  }
}

function closed(stream) {
  return new Promise((resolve) => {
    if (stream.closed || stream.destroyed) resolve();
    else stream.once('close', resolve);
  });
}

/** Formats a row as a line to read. */
function inShort(row) {
  const text = (value) => {
    if (typeof value === 'number') return Number.isInteger(value) ? String(value) : value.toPrecision(4);
    return typeof value === 'string' ? value.split('\n')[0] : JSON.stringify(value);
  };
  const fields = Object.entries(row).map(([name, value]) => `${name} ${text(value)}`);
  return fields.join(', ').slice(0, 160);
}
