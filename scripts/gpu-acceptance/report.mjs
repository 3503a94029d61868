// Writes the report, one JSON object per line. Each is written as soon as it is known, so that all findings are on
// disk when a run is cut off:
//   {"run": {date, commit, gpu, emulated, …}}        a run begins
//   {"part": NAME, "started": DATE}                  a part begins
//   {"part": NAME, …}                                something it found; `failure` says which check failed
//   {"part": NAME, "status": …, seconds, failures, commit}   its end: passed, failed, timed out, cut off or left out
import { closeSync, fstatSync, mkdirSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** Appends to `path`. If a killed run left half a line there, the new row begins on the next one. */
export function openReport(path) {
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, 'a+');
  const { size } = fstatSync(file);
  const last = Buffer.alloc(1);
  if (size > 0 && readSync(file, last, 0, 1, size - 1) === 1 && last[0] !== 0x0a) writeSync(file, '\n');
  return {
    append: (value) => void writeSync(file, `${JSON.stringify(value)}\n`),
    close: () => closeSync(file),
  };
}

/**
 * Reads the runs of a report, and the newest result of every part: {status, rows, failures, seconds, commit, run}. A part
 * that was left out, or cut off with its run (`unfinished` where no row says its end), does not hide an earlier result,
 * unless it found a failure.
 */
export function parseReport(text) {
  const runs = [];
  const parts = new Map();
  const open = new Map();
  const settle = (name, result) => {
    const known = parts.get(name);
    if (known === undefined || weight(result) >= weight(known)) parts.set(name, result);
  };
  const begin = (name) => open.set(name, { status: 'unfinished', rows: [], failures: [], run: runs.at(-1) });
  const cutOff = () => {
    for (const [name, result] of open) settle(name, result);
    open.clear();
  };
  for (const value of text.split('\n').flatMap(parseLine)) {
    if (value.run !== undefined) {
      cutOff();
      runs.push(value.run);
    } else if (value.status !== undefined) {
      if (!open.has(value.part)) begin(value.part);
      const { part, ...end } = value;
      settle(part, { ...open.get(part), ...end });
      open.delete(part);
    } else if (value.started !== undefined) {
      begin(value.part);
    } else if (value.part !== undefined) {
      const { part, ...row } = value;
      open.get(part)?.rows.push(row);
      if (row.failure !== undefined) open.get(part)?.failures.push(row.failure);
    }
  }
  cutOff();
  return { runs, parts };
}

/** Ranks how much a result says. A later result replaces an earlier one that says no more. */
function weight({ status, failures }) {
  if (status === 'left out') return 0;
  return ['cut off', 'unfinished'].includes(status) && failures.length === 0 ? 1 : 2;
}

export function readReport(path) {
  return parseReport(readFileSync(path, 'utf8'));
}

/** Parses a line into a list of one value, or of none where a killed run left the line half written. */
function parseLine(line) {
  try {
    return [JSON.parse(line)].filter((value) => typeof value === 'object' && value !== null);
  } catch {
    return [];
  }
}
