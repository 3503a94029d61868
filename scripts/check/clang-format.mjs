// Formats the C++ sources in place, or with --check fails if one is not formatted.
import { outputOf, step } from '../steps.mjs';

const files = outputOf('git', ['ls-files', '-co', '--exclude-standard', '*.cc', '*.h', '*.cu', '*.cuh'])
  .split('\n')
  .filter((file) => /^(native|cuda|test)\//.test(file));
const mode = process.argv.includes('--check') ? ['--dry-run', '--Werror'] : ['-i'];
step('clang-format', 'clang-format', [...mode, ...files], { remedy: 'Run `npm run format`.' });
