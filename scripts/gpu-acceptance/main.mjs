// Runs the acceptance on a GPU machine: it builds, checks and measures in one short run, and writes down each
// finding as it comes.
// Usage: scripts/gpu-acceptance/run prepare     where npm works: packs what the GPU machine lacks into .gpu-kit/
//        scripts/gpu-acceptance/run [options]   on the GPU machine
//   --minutes N      time from the start of the command to its end; parts that do not fit are left out. Default: no limit
//   --only a,b*      these parts alone, in the order of the table, and those whose name begins so; `build` is added where
//                    nothing is built yet
//   --out FILE       report, JSON Lines; a second run appends. Default: scripts/gpu-reports/GPU-DATE.jsonl
//   --python PATH    the Python with PyTorch, and with cuDNN in a wheel. Default: python3
//   --emulated       on the emulated GPU, with small sizes: shows that the script works, and its numbers mean nothing
//   --list           the parts, with their seconds and limits
// Needs nvcc 13, cmake and a C++ compiler; neither npm nor a network. Exit code 1 if a check failed or was cut off.
// What each part is and how to read the report: scripts/gpu-acceptance/README.md
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { fail, root } from '../steps.mjs';
import { gpuOf, machineFacts, packageIsReady, partEnvironment } from './machine.mjs';
import { parts } from './parts.mjs';
import { openReport, readReport } from './report.mjs';
import { runParts } from './runner.mjs';
import { summary } from './summary.mjs';

const { options, command } = parse();
if (options.help) {
  const lines = readFileSync(new URL(import.meta.url), 'utf8').split('\n');
  const end = lines.findIndex((line) => !line.startsWith('//'));
  process.stdout.write(`${lines.slice(0, end).join('\n')}\n`);
} else if (options.list) {
  for (const { name, about, seconds, limit } of parts)
    process.stdout.write(
      `${name.padEnd(26)} ${`${seconds}`.padStart(3)} s, at most ${`${limit}`.padStart(3)}  ${about}\n`,
    );
} else if (command === 'prepare') {
  const { prepare } = await import('./prepare.mjs');
  await prepare();
} else {
  process.exitCode = await accept();
}

function parse() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        minutes: { type: 'string' },
        only: { type: 'string' },
        out: { type: 'string' },
        python: { type: 'string', default: 'python3' },
        emulated: { type: 'boolean', default: false },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    });
    if (positionals.length > 1 || (positionals.length === 1 && positionals[0] !== 'prepare'))
      fail(`unknown command '${positionals.join(' ')}': expected prepare, or none`);
    return { options: values, command: positionals[0] };
  } catch (error) {
    return fail(`${error.message}\nscripts/gpu-acceptance/run --help tells the options.`);
  }
}

/** Returns the seconds that the command may take. */
function budget() {
  if (options.minutes === undefined) return Number.POSITIVE_INFINITY;
  const minutes = Number(options.minutes);
  if (!(minutes > 0)) fail(`--minutes must be a number above 0, got '${options.minutes}'`);
  return 60 * minutes;
}

function chosenParts() {
  const names = options.only?.split(',') ?? parts.map(({ name }) => name);
  const matches = (wanted, name) =>
    wanted.endsWith('*') ? name.startsWith(wanted.slice(0, -1)) : name === wanted;
  const unknown = names.find((wanted) => !parts.some(({ name }) => matches(wanted, name)));
  if (unknown !== undefined)
    fail(`unknown part '${unknown}': expected some of ${parts.map(({ name }) => name).join(', ')}`);
  if (!names.includes('build') && !packageIsReady(options)) names.push('build');
  return parts.filter(({ name }) => names.some((wanted) => matches(wanted, name)));
}

async function accept() {
  const { emulated, python } = options;
  const seconds = budget();
  const chosen = chosenParts();
  const gpu = emulated ? { name: 'CUDA emulator' } : gpuOf();
  if (gpu === undefined)
    fail('nvidia-smi finds no GPU here, or does not answer; --emulated runs without one.');
  const path = options.out ?? `${root}scripts/gpu-reports/${fileName(gpu.name)}`;
  const machine = machineFacts();
  const report = openedReport(path);
  report.append({
    run: { date: new Date().toISOString(), emulated, minutes: options.minutes, gpu, ...machine },
  });
  const outcome = await runParts(chosen, {
    report,
    seconds,
    commit: machine.commit,
    environment: partEnvironment({ emulated, python }),
    settings: { emulated, python, out: path },
  });
  const results = readReport(path);
  process.stderr.write(`\n${summary(results)}\n${emulated ? '' : await beside(results)}${path}\n`);
  return outcome;
}

function openedReport(path) {
  try {
    return openReport(path);
  } catch (error) {
    return fail(`the report cannot be written: ${error.message}`);
  }
}

/** Prints what was predicted. This needs the package, which a failed build may not have unpacked. */
async function beside(results) {
  try {
    const { predictedBeside } = await import('./predicted-beside.mjs');
    return `${predictedBeside(results)}\n`;
  } catch (error) {
    return `nothing beside the measurements: ${error.message}\n`;
  }
}

function fileName(gpu) {
  return `${gpu.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}-${new Date().toISOString().slice(0, 10)}.jsonl`;
}
