// Acceptance on a GPU machine: builds, checks, measures, and writes one report.
// Usage: scripts/gpu-acceptance/run prepare           here: packs what the GPU machine lacks into .gpu-kit/
//        scripts/gpu-acceptance/run [options]         on the GPU machine, in the repository's root
//   --only operations,training,sampling,sanitizer,throughput   default: all of them
//   --out FILE       default: scripts/gpu-reports/GPU-DATE.json; parts that were not run keep what FILE has
//   --python PATH    a Python with PyTorch, the peer of `throughput`. Default: python3
//   --emulated       on the emulated GPU, with small sizes: shows that the script works and proves nothing else
// Needs nvcc 13, cmake and a C++ compiler; npm and network are not used. Exit code 1 if a check failed.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { fail, outputOf, root } from '../steps.mjs';

const parts = ['operations', 'training', 'sampling', 'sanitizer', 'throughput'];
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: parts.join() },
    out: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    emulated: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  const lines = readFileSync(new URL(import.meta.url), 'utf8').split('\n');
  process.stdout.write(
    `${lines
      .slice(
        0,
        lines.findIndex((line) => !line.startsWith('//')),
      )
      .join('\n')}\n`,
  );
} else if (positionals[0] === 'prepare') {
  const { prepare } = await import('./prepare.mjs');
  await prepare();
} else if (positionals.length > 0) {
  fail(`unknown command '${positionals[0]}': expected prepare, or none`);
} else {
  await accept();
}

async function accept() {
  const chosen = options.only.split(',');
  const unknown = chosen.find((part) => !parts.includes(part));
  if (unknown !== undefined) fail(`unknown part '${unknown}': expected some of ${parts.join(', ')}`);
  const { build } = await import('./build.mjs');
  const programs = build({ emulated: options.emulated, python: options.python });
  const { openDevice } = await import('../../dist/index.js');

  const gpu = await openDevice({ backend: 'cuda', precision: 'f32' }).catch((error) =>
    fail(`${error.message}\n${error.remedy ?? ''}`),
  );
  const out = options.out ?? `${root}scripts/gpu-reports/${fileName(gpu.info.name)}`;
  const before = existsSync(out) ? JSON.parse(readFileSync(out, 'utf8')).parts : {};
  const report = { ...machine(gpu.info), emulated: options.emulated, parts: { ...before } };
  await gpu.dispose();

  for (const part of chosen) {
    process.stderr.write(`── ${part}\n`);
    const { [part]: check } = await import(`./${part}.mjs`);
    const start = performance.now();
    let result;
    try {
      result = await check({ ...options, programs });
    } catch (error) {
      result = { failures: [error instanceof Error ? (error.stack ?? error.message) : String(error)] };
    }
    report.parts[part] = { ...result, commit: report.commit, seconds: seconds(start) };
    for (const failure of result.failures) process.stderr.write(`FAILED ${failure}\n`);
    process.stderr.write(`── ${part}: ${result.failures.length} failures, ${seconds(start)} s\n`);
    mkdirSync(dirname(out), { recursive: true });
    writeFileSync(out, `${JSON.stringify(report, null, 2)}\n`);
  }
  process.stderr.write(`${out}\n`);
  if (chosen.some((part) => report.parts[part].failures.length > 0)) process.exitCode = 1;
}

function seconds(start) {
  return Math.round((performance.now() - start) / 100) / 10;
}

function fileName(gpu) {
  return `${gpu.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}-${new Date().toISOString().slice(0, 10)}.json`;
}

/** What the numbers were made with. */
function machine(info) {
  return {
    date: new Date().toISOString(),
    // The GPU machine has the files of a commit, not always its history; prepare left the name.
    commit: outputOf('git', ['rev-parse', 'HEAD']) ?? packedCommit(),
    gpu: info.name,
    architecture: info.instructionSet,
    cudnn: info.cudnn,
    driver: outputOf('nvidia-smi', ['--query-gpu=driver_version', '--format=csv,noheader']) ?? 'none',
    nvcc: /release ([\d.]+)/.exec(outputOf('nvcc', ['--version']) ?? '')?.[1],
    node: process.version,
    torch: torchVersion(),
  };
}

function packedCommit() {
  const file = `${root}.gpu-kit/commit`;
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : 'unknown';
}

function torchVersion() {
  try {
    const program = 'import torch; print(torch.__version__)';
    return execFileSync(options.python, ['-W', 'ignore', '-c', program], { encoding: 'utf8' }).trim();
  } catch {
    return undefined;
  }
}
