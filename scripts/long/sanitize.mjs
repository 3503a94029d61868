// Runs the native code under sanitizers: those for addresses and undefined behaviour through Node, that for threads
// without it.
// Usage: node scripts/long/sanitize.mjs [tests …]   (vitest's filters; by default the tests that reach native code)
// Faults planted on purpose must be reported; everything else must not report anything.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fail, npmCommand, outputOf, root, step } from '../steps.mjs';

const addressBuild = `${root}build/asan/build`;
const reports = `${root}build/asan/reports`;
const threadBuild = `${root}build/tsan`;
const parallel = { env: { CMAKE_BUILD_PARALLEL_LEVEL: String(availableParallelism()) } };
const nativeTests = [
  'test/ops',
  'test/sample',
  'test/models/likelihood',
  'test/train/trainer',
  'test/device/bf16',
  'test/device/dispose',
  'test/api/errors',
  'test/program/program',
  'test/process/process-life',
];

addressSanitizer();
threadSanitizer();

function addressSanitizer() {
  const out = ['--out', addressBuild];
  const options = ['--CDPIXELCNN_SANITIZE=address,undefined', '--CDPIXELCNN_NATIVE_TESTS=ON'];
  step('configure for address,undefined', npmCommand('cmake-js'), ['configure', ...out, ...options]);
  step('build for address,undefined', npmCommand('cmake-js'), ['build', ...out], parallel);

  const library = outputOf('c++', ['-print-file-name=libasan.so']);
  if (!library?.includes('/')) fail('The sanitizers need libasan, which comes with g++.');
  const env = {
    LD_PRELOAD: library,
    ASAN_OPTIONS: `detect_leaks=1:log_path=${reports}/report`,
    UBSAN_OPTIONS: 'print_stacktrace=1',
    // Leaks are found in the reports of the sanitizer, so that exit codes stay those of the tests.
    LSAN_OPTIONS: 'exitcode=0',
    // node-gyp-build looks for build/Release in this folder.
    PIXELCNN_PREBUILD: `${root}build/asan`,
  };
  for (const fault of ['heapOverflow', 'useAfterFree', 'signedOverflow', 'leak']) {
    clearReports();
    const code = `require(${JSON.stringify(`${addressBuild}/planted/planted.node`)}).${fault}(4)`;
    const run = spawnSync(process.execPath, ['-e', code], {
      env: { ...process.env, ...env },
      encoding: 'utf8',
    });
    // Undefined behaviour ends the process with a line on stderr, which fails any test.
    if (findings('planted').length === 0 && !/runtime error:/.test(run.stderr))
      fail(`The sanitizers did not report a planted ${fault}.`);
    process.stderr.write(`── planted ${fault}: reported\n`);
  }
  clearReports();
  for (const isa of readdirSync(`${addressBuild}/CMakeFiles`).flatMap(
    (name) => /^kernels_(?!test)(\w+)\.dir$/.exec(name)?.[1] ?? [],
  )) {
    kernels(isa, env);
  }
  const tests = process.argv.length > 2 ? process.argv.slice(2) : nativeTests;
  step('tests with sanitizers', npmCommand('vitest'), ['run', ...tests], { env, show: true });
  const found = findings('pixelcnn');
  if (found.length > 0) fail(`The sanitizers reported:\n${found.join('\n')}`);
  process.stderr.write('── sanitizers: 0 reports\n');
}

/** Runs a test program. Exit code 2 means that this processor lacks the instruction set. */
function kernels(isa, { LD_PRELOAD: _, ...env }) {
  const run = spawnSync(`${addressBuild}/kernels_test`, ['8', '7', isa], {
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  if (run.status === 2) process.stderr.write(`── SKIPPED kernels of ${isa}: ${run.stdout.trim()}\n`);
  else if (run.status !== 0) fail(`kernels of ${isa}: ${run.stdout}${run.stderr}${findings('').join('\n')}`);
}

function clearReports() {
  rmSync(reports, { recursive: true, force: true });
  mkdirSync(reports, { recursive: true });
}

/**
 * Collects the reports of the sanitizers. Node and V8 free little when they end, so a leak counts only if the module
 * itself allocated it: if one of its frames is nearer to the allocation than any of Node's.
 */
function findings(module) {
  if (!existsSync(reports)) return [];
  return readdirSync(reports).flatMap((name) => {
    const text = readFileSync(`${reports}/${name}`, 'utf8');
    if (!text.includes('LeakSanitizer')) return [text];
    return text.split('\n\n').filter((leak) => {
      return /^(Direct|Indirect) leak/.test(leak) && leak.split(/\/node\+0x/)[0].includes(module);
    });
  });
}

function threadSanitizer() {
  const configure = ['-S', '.', '-B', threadBuild, '-DPIXELCNN_SANITIZE=thread', '-DPIXELCNN_ISAS=baseline'];
  if (!/x86_64|x64/.test(process.arch)) configure.pop();
  step('configure for thread', 'cmake', configure);
  step('build for thread', 'cmake', ['--build', threadBuild, '--target', 'threads_test'], parallel);
  const program = `${threadBuild}/threads_test`;
  const planted = spawnSync(program, ['3', 'plant'], { encoding: 'utf8' });
  if (!planted.stderr.includes('ThreadSanitizer: data race'))
    fail(`The thread sanitizer did not report a planted race:\n${planted.stdout}${planted.stderr}`);
  process.stderr.write('── planted race: reported\n');
  step('devices of several threads with the thread sanitizer', program, ['15']);
}
