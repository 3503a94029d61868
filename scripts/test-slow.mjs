// Runs what takes longer than `npm test`: the binaries of the package, the slow tests, what finds faults in native
// code (clang-tidy, sanitizers, a fuzzer), and the install matrix.
import { spawnSync } from 'node:child_process';
import { npmCommand, root, step } from './steps.mjs';
import { requireTools } from './tools.mjs';

const slow = ['--project', 'slow', '--project', 'slow timed'];
step('set-up', 'node', ['scripts/build/setup.mjs', '--tests'], { show: true });
requireTools(['clangTidy', 'libFuzzer', 'chromium'], 'npm run test:slow');
// cuDNN needs cuBLAS at run time. Where it cannot be fetched, the tests say what they leave out.
spawnSync('node', ['scripts/build/fetch-cuda.mjs', 'cublas'], { cwd: root, stdio: 'inherit' });
step('prebuilds', 'node', ['scripts/build/prebuild.mjs'], { show: true });
step('slow tests', npmCommand('vitest'), ['run', ...slow], { show: true });
step('clang-tidy', 'node', ['scripts/check/clang-tidy.mjs'], { show: true });
step('sanitizers', 'node', ['scripts/long/sanitize.mjs'], { show: true });
step('fuzzing', 'node', ['scripts/long/fuzz.mjs'], { show: true });
step('install matrix', 'node', ['scripts/install-matrix/main.mjs'], { show: true });
