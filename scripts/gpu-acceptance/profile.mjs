// Runs the parts `profile-*`: Nsight Compute reads hardware counters of our kernels, where it is installed.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runCommand } from './part.mjs';

const workload = fileURLToPath(new URL('profile-workload.mjs', import.meta.url));
const kernels = ['convolve', 'weight_gradient', 'cross_entropy', 'sample_front'];
const counters = [
  'gpu__time_duration.sum',
  'sm__throughput.avg.pct_of_peak_sustained_elapsed',
  'sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_elapsed',
  'smsp__issue_active.avg.pct_of_peak_sustained_active',
  'sm__warps_active.avg.pct_of_peak_sustained_active',
  'sm__inst_executed.sum',
  'dram__bytes.sum',
  'lts__t_bytes.sum',
  'l1tex__t_bytes.sum',
  'l1tex__data_bank_conflicts_pipe_lsu.sum',
];
const launchFacts = ['launch__registers_per_thread', 'launch__waves_per_multiprocessor'];

/** Runs ncu, which passes over `skip` launches of these kernels and then measures `count`. */
export async function profile({ work, skip, count, emulated, say }) {
  if (emulated) return say({ leftOut: 'an emulated GPU has no counters' });
  const known = await runCommand('ncu', ['--query-metrics']);
  if (known.code !== 0)
    return say({ leftOut: `ncu cannot be used: ${known.output.trim().slice(-300) || known.code}` });
  // ncu would end at the first counter that this GPU lacks.
  const names = new Set(known.stdout.split('\n').map((line) => line.trim().split(/\s/)[0]));
  const wanted = counters.filter((counter) => names.has(counter.split('.')[0]));
  if (wanted.length < counters.length)
    say({ unknownCounters: counters.filter((counter) => !wanted.includes(counter)) });
  const folder = mkdtempSync(join(tmpdir(), 'pixelcnn-profile-'));
  const file = join(folder, 'counters.csv');
  // The clocks stay as they are, because the machine is shared.
  const { code, output } = await runCommand('ncu', [
    ...['--clock-control', 'none', '--print-units', 'base', '--csv', '--log-file', file],
    ...['--metrics', [...wanted, ...launchFacts].join(), '--kernel-name', `regex:${kernels.join('|')}`],
    ...['--launch-skip', String(skip), '--launch-count', String(count)],
    ...[process.execPath, workload, work],
  ]);
  let text = '';
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // the rest is what ncu printed instead
  }
  rmSync(folder, { recursive: true, force: true });
  const launches = parseCounters(text);
  for (const launch of launches) say({ work, ...launch });
  if (launches.length === 0)
    say({ leftOut: `ncu ended with ${code}: ${`${output}${text}`.trim().slice(-1500)}` });
}

/** Reads kernel, grid, block and counters of every launch from ncu's table, which has a line for each counter. */
export function parseCounters(text) {
  const lines = text.split('\n').map(fieldsOf);
  const header = lines.findIndex(([first]) => first === 'ID');
  if (header < 0) return [];
  const column = (line, name) => line[lines[header].indexOf(name)];
  const launches = new Map();
  for (const line of lines.slice(header + 1)) {
    const name = column(line, 'Metric Name');
    if (name === undefined || name === '') continue;
    const id = column(line, 'ID');
    const kernel = column(line, 'Kernel Name')?.slice(0, 200);
    if (!launches.has(id))
      launches.set(id, {
        kernel,
        grid: column(line, 'Grid Size'),
        block: column(line, 'Block Size'),
        counters: {},
      });
    launches.get(id).counters[name] = Number(column(line, 'Metric Value').replaceAll(',', ''));
  }
  return [...launches.values()];
}

/** Splits a line of CSV whose fields are all in quotation marks. */
function fieldsOf(line) {
  return [...line.matchAll(/"((?:[^"]|"")*)"/g)].map(([, field]) => field.replaceAll('""', '"'));
}
