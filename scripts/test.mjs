// The test command: set-up, types, lint, binaries for the package, vitest, then the install matrix. Arguments go to vitest,
// and leave the binaries and the matrix out: npm test -- test/ops
import { npmCommand, step } from './steps.mjs';

const args = process.argv.slice(2);
const whole = args.length === 0;
step('set-up', 'node', ['scripts/setup.mjs', '--tests'], { show: true });
step('types', npmCommand('tsc'), ['-p', 'tsconfig.json']);
step('biome', npmCommand('biome'), ['check', '.'], { remedy: 'Run `npm run format`.' });
step('clang-format', 'node', ['scripts/clang-format.mjs', '--check'], { show: true });
if (whole) step('prebuilds', 'node', ['scripts/prebuild.mjs'], { show: true });
step('tests', npmCommand('vitest'), ['run', ...args], { show: true });
if (whole) step('install matrix', 'node', ['scripts/install-matrix.mjs'], { show: true });
