// Runs set-up, types, linters and the quick tests, in minutes; `npm run test:slow` runs what takes longer.
// Arguments go to vitest. Where they begin with a path, the files that it names are run, slow ones too:
// npm test -- test/ops
import { npmCommand, step } from './steps.mjs';

const args = process.argv.slice(2);
const named = args.length > 0 && !args[0].startsWith('-');
const quick = named ? [] : ['--project', 'quick', '--project', 'timed'];
step('set-up', 'node', ['scripts/build/setup.mjs', '--tests'], { show: true });
step('types', npmCommand('tsc'), ['-p', 'tsconfig.json']);
step('biome', npmCommand('biome'), ['check', '.'], { remedy: 'Run `npm run format`.' });
step('clang-format', 'node', ['scripts/check/clang-format.mjs', '--check'], { show: true });
step('tests', npmCommand('vitest'), ['run', ...quick, ...args], { show: true });
