// Runs planted parts as scripts/gpu-acceptance runs its own. Arguments: the report; JSON of {parts: [{name, run, limit,
// …}], seconds, real: names of parts of scripts/gpu-acceptance that come last, with the environment given for each}.
import { partEnvironment } from '../../../scripts/gpu-acceptance/machine.mjs';
import { parts as realParts } from '../../../scripts/gpu-acceptance/parts.mjs';
import { openReport } from '../../../scripts/gpu-acceptance/report.mjs';
import { runParts } from '../../../scripts/gpu-acceptance/runner.mjs';

const [, , path, given] = process.argv;
const { parts = [], real = {}, seconds = 1e9 } = JSON.parse(given);
const module = new URL('planted-parts.mjs', import.meta.url).href;
const planted = parts.map((part) => ({
  run: part.name,
  module,
  emulatedSeconds: 0,
  emulatedLimit: 60,
  options: {},
  env: {},
  ...part,
}));
const others = realParts
  .filter(({ name }) => name in real)
  .map((part) => ({ ...part, env: { ...part.env, ...real[part.name] } }));
process.exitCode = await runParts([...planted, ...others], {
  report: openReport(path),
  seconds,
  commit: 'planted',
  environment: partEnvironment({ emulated: true, python: 'python3' }),
  settings: { emulated: true, python: 'python3', out: path },
});
