// Describes the machine that a benchmark runs on: processors, load, caches, and the time from core to core.
import { readdirSync, readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { outputOf, root } from '../steps.mjs';

const processorFolder = '/sys/devices/system/cpu';

/**
 * Returns { processors, caches, coreToCore }. `caches` is null where the system does not tell them. `coreToCore` is what test/native/core_latency.cc measures, or { reason } if it cannot.
 */
export function measureMachine() {
  return {
    processors: availableParallelism(),
    caches: readCaches(processorFolder),
    coreToCore: measureLatency(),
  };
}

/**
 * Returns the median time from core to core in ns, or undefined if it cannot be measured. A virtual machine may be moved to
 * other cores while it runs, so benchmarks measure it again and again.
 */
export function medianLatency() {
  const times = (measureLatency().pairs ?? []).map(({ ns }) => ns).sort((a, b) => a - b);
  return times[Math.floor(times.length / 2)];
}

/** Returns a line of text about the times that {@link medianLatency} returned during a benchmark. */
export function latencyLine(times) {
  const known = times.filter((ns) => ns !== undefined);
  if (known.length === 0) return 'core to core while measuring: not measured';
  const [least, most] = [Math.min(...known), Math.max(...known)].map((ns) => ns.toFixed(0));
  return `core to core while measuring: ${least === most ? least : `${least} to ${most}`} ns`;
}

function measureLatency() {
  const text = outputOf(`${root}build/core_latency`, [], { seconds: 60 });
  if (text === undefined) return { reason: 'build/core_latency, which measures it, is not built or failed' };
  return JSON.parse(text);
}

/**
 * Reads the caches below `folder`, which is laid out like /sys/devices/system/cpu. Returns a list of { name, size, groups },
 * smallest level first; each of `groups` lists the processors that share one cache. Returns null if nothing is told, as in
 * some containers.
 */
export function readCaches(folder) {
  const caches = new Map();
  const text = (path) => readFileSync(`${folder}/${path}`, 'utf8').trim();
  try {
    for (const processor of readdirSync(folder).filter((name) => /^cpu\d+$/.test(name))) {
      for (const index of readdirSync(`${folder}/${processor}/cache`).filter((name) => /^index/.test(name))) {
        const path = `${processor}/cache/${index}`;
        const type = { Data: 'd', Instruction: 'i', Unified: '' }[text(`${path}/type`)] ?? '?';
        const name = `L${text(`${path}/level`)}${type}`;
        const size = text(`${path}/size`);
        const cache = caches.get(`${name} ${size}`) ?? { name, size, groups: new Map() };
        const shared = text(`${path}/shared_cpu_list`);
        cache.groups.set(shared, processorsOf(shared));
        caches.set(`${name} ${size}`, cache);
      }
    }
  } catch {
    return null;
  }
  const list = [...caches.values()].map(({ groups, ...cache }) => ({
    ...cache,
    groups: [...groups.values()].sort(([a], [b]) => a - b),
  }));
  return list.length === 0 ? null : list.sort((a, b) => a.name.localeCompare(b.name));
}

/** Returns the numbers of a list like "0-2,8". */
function processorsOf(list) {
  return list.split(',').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** Returns the name of the smallest cache that the system says two processors share, '' for none, null if it tells none. */
export function sharedCache(caches, [a, b]) {
  if (caches === null) return null;
  return (
    caches.find(({ groups }) => groups.some((group) => group.includes(a) && group.includes(b)))?.name ?? ''
  );
}

/** Returns lines of text about what {@link measureMachine} returned and the load average of the minute before. */
export function machineLines({ processors, loadAverage, caches, coreToCore }) {
  const load = `load average ${loadAverage.toFixed(2)} at the start`;
  return [
    `machine: ${processors} usable processor${processors === 1 ? '' : 's'}, ${load}`,
    `caches: ${caches === null ? 'unknown, the system does not tell them' : caches.map(cacheText).join('; ')}`,
    `core to core: ${latencyText(caches, coreToCore)}`,
  ];
}

function cacheText({ name, size, groups }) {
  const most = 4;
  const shown = groups.slice(0, most).map(rangesText);
  const more = groups.length > most ? `, and ${groups.length - most} more` : '';
  return `${name} ${size} (one each for processors ${shown.join(' | ')}${more})`;
}

/** Writes sorted numbers as ranges, e.g. "0-2,8". */
function rangesText(numbers) {
  const ranges = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(',');
}

function latencyText(caches, { reason, pairs }) {
  if (reason !== undefined) return `not measured: ${reason}`;
  const kinds = new Map();
  for (const { processors, ns } of pairs) {
    const name = sharedCache(caches, processors);
    const kind =
      {
        null: ', caches unknown',
        '': ' with no shared cache, as the system tells',
      }[name] ?? ` that share ${name}, as the system tells`;
    kinds.set(kind, [...(kinds.get(kind) ?? []), ns]);
  }
  return [...kinds]
    .map(([kind, times]) => {
      const [least, most] = [Math.min(...times), Math.max(...times)].map((ns) => ns.toFixed(0));
      const count = `${times.length} pair${times.length === 1 ? '' : 's'}`;
      return `${least === most ? least : `${least} to ${most}`} ns (${count}${kind})`;
    })
    .join(', ');
}
