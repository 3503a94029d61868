// Says whether a process that another one started still runs.
import { readFileSync } from 'node:fs';

/** A process that has ended and that nobody has waited for yet, a zombie, does not run. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^\S+ \(.*\) [ZX]/s.test(stat);
  } catch {
    return false;
  }
}
