// The test command: set-up, types, lint, native tests, then vitest. Arguments go to vitest: npm test -- test/ops
import { npmCommand, step } from './steps.mjs';

const args = process.argv.slice(2);
step('set-up', 'node', ['scripts/setup.mjs', '--tests'], { show: true });
step('types', npmCommand('tsc'), ['-p', 'tsconfig.json']);
step('biome', npmCommand('biome'), ['check', '.'], { remedy: 'Run `npm run format`.' });
step('clang-format', 'node', ['scripts/clang-format.mjs', '--check'], { show: true });
step('tests', npmCommand('vitest'), ['run', ...args], { show: true });
