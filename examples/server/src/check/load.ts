// Runs the load test from the command line: starts the server, puts it under load, and prints a report.
import { parseArgs } from 'node:util';
import { runLoad, violations } from './load-run.js';
import { ServerProcess } from './server-process.js';

const usage = `Usage: node examples/server/dist/check/load.js [options]

  --seconds N    seconds of measurement, default 60
  --warm-up N    seconds before, default 15
  --clients N    default 200
  --model FILE   as for the server
`;
const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    'warm-up': { type: 'string', default: '15' },
    clients: { type: 'string', default: '200' },
    model: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  process.stdout.write(usage);
  process.exit(0);
}

await using server = await ServerProcess.start([
  '--port',
  '0',
  ...(flags.model === undefined ? [] : ['--model', flags.model]),
]);
const report = await runLoad(server, {
  clients: Number(flags.clients),
  warmUp: Number(flags['warm-up']),
  seconds: Number(flags.seconds),
  aborting: 0.05,
  malformed: 0.05,
  patience: 40_000,
});
process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
const found = violations(report, { delay: 20, memory: 32 });
process.stdout.write(found.length === 0 ? 'all within limits\n' : `${found.join('\n')}\n`);
process.exitCode = found.length === 0 ? 0 : 1;
