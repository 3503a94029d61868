// Fuzzes the decoder of programs with libFuzzer under the address and undefined-behaviour sanitizers.
// Usage: node scripts/long/fuzz.mjs [--seconds 30 | --runs 10000000]
// Starts from the corpus in test/native/fuzz-corpus and keeps what it finds in build/fuzz/corpus; inputs that fail are
// left in build/fuzz and end the script with an error. A decoder that lets tensors end too late must be found first.
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { fail, root, step } from '../steps.mjs';

const { values } = parseArgs({ options: { seconds: { type: 'string' }, runs: { type: 'string' } } });
const build = `${root}build/fuzz`;
const corpus = `${build}/corpus`;
const program = `${build}/fuzz_program`;
const isas = process.arch === 'x64' ? ['-DPIXELCNN_ISAS=baseline'] : [];

const sanitizers = ['-DPIXELCNN_SANITIZE=address,undefined', '-DPIXELCNN_FUZZER=ON', ...isas];
step('configure the fuzz target', 'cmake', [
  ...['-S', '.', '-B', build, '-DCMAKE_CXX_COMPILER=clang++'],
  ...sanitizers,
]);
step('build the fuzz target', 'cmake', ['--build', build, '--target', 'fuzz_program'], {
  env: { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) },
});
mkdirSync(corpus, { recursive: true });

const shared = ['-max_len=2048', '-timeout=20', '-rss_limit_mb=2048', `-artifact_prefix=${build}/`];
const seeds = `${root}test/native/fuzz-corpus`;
const overrun = `${build}/planted-overrun`;
const planted = spawnSync(
  program,
  ['-runs=100000', '-max_len=2048', `-exact_artifact_path=${overrun}`, seeds],
  {
    env: { ...process.env, PIXELCNN_PLANT: '1' },
    encoding: 'utf8',
  },
);
if (!/AddressSanitizer: use-after-poison/.test(planted.stderr))
  fail(`The fuzzer did not find a planted overrun:\n${planted.stderr.slice(-2000)}`);
rmSync(overrun, { force: true });
process.stderr.write('── planted overrun: found\n');

const length = values.runs === undefined ? `-max_total_time=${values.seconds ?? 30}` : `-runs=${values.runs}`;
const run = spawnSync(program, [length, ...shared, '-print_final_stats=1', corpus, seeds], {
  encoding: 'utf8',
  maxBuffer: 2 ** 30,
});
if (run.status !== 0) fail(`The fuzzer found a fault:\n${run.stderr.slice(-6000)}`);
const executions = Number(/number_of_executed_units: (\d+)/.exec(run.stderr)?.[1]);
const coverage = /cov: (\d+)(?![\s\S]*cov: )/.exec(run.stderr)?.[1];
if (!(executions > 1000)) fail(`The fuzzer ran only ${executions} inputs.`);
process.stderr.write(`── fuzz: ${executions} inputs, coverage ${coverage}, 0 findings\n`);
