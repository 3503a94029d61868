// The test command: set-up, types, lint, binaries for the package, vitest, what looks for faults in native code
// (clang-tidy, sanitizers, a fuzzer), then the install matrix. Arguments go to vitest, and then that is all:
// npm test -- test/ops
import { npmCommand, step } from './steps.mjs';

const args = process.argv.slice(2);
const whole = args.length === 0;
step('set-up', 'node', ['scripts/setup.mjs', '--tests'], { show: true });
step('types', npmCommand('tsc'), ['-p', 'tsconfig.json']);
step('biome', npmCommand('biome'), ['check', '.'], { remedy: 'Run `npm run format`.' });
step('clang-format', 'node', ['scripts/clang-format.mjs', '--check'], { show: true });
if (whole) step('prebuilds', 'node', ['scripts/prebuild.mjs'], { show: true });
step('tests', npmCommand('vitest'), ['run', ...args], { show: true });
if (whole) {
  step('clang-tidy', 'node', ['scripts/clang-tidy.mjs'], { show: true });
  step('sanitizers', 'node', ['scripts/sanitize.mjs'], { show: true });
  step('fuzzing', 'node', ['scripts/fuzz.mjs'], { show: true });
  step('install matrix', 'node', ['scripts/install-matrix.mjs'], { show: true });
}
