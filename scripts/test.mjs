// The test command: set-up, types, lint, vitest, then what looks for faults in native code: clang-tidy, sanitizers and
// a fuzzer. Arguments go to vitest, and then that is all: npm test -- test/ops
import { npmCommand, step } from './steps.mjs';

const args = process.argv.slice(2);
step('set-up', 'node', ['scripts/setup.mjs', '--tests'], { show: true });
step('types', npmCommand('tsc'), ['-p', 'tsconfig.json']);
step('biome', npmCommand('biome'), ['check', '.'], { remedy: 'Run `npm run format`.' });
step('clang-format', 'node', ['scripts/clang-format.mjs', '--check'], { show: true });
step('tests', npmCommand('vitest'), ['run', ...args], { show: true });
if (args.length === 0) {
  step('clang-tidy', 'node', ['scripts/clang-tidy.mjs'], { show: true });
  step('sanitizers', 'node', ['scripts/sanitize.mjs'], { show: true });
  step('fuzzing', 'node', ['scripts/fuzz.mjs'], { show: true });
}
