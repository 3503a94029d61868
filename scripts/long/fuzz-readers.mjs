// Fuzzes the readers of safetensors, IDX and PNG files, with 10 million executions each or as many as the first
// argument says; the second names one reader. `npm run test:slow` does it for 10 seconds each.
import { spawnSync } from 'node:child_process';
import { fail, npmCommand, root, step } from '../steps.mjs';

const [executions = '10000000', only] = process.argv.slice(2);
// New inputs come mostly from the files a part starts with, so many parts find more than one long one.
const partExecutions = 500_000;

step('TypeScript build', npmCommand('tsc'), ['-p', 'tsconfig.build.json']);
for (const target of only === undefined ? ['safetensors', 'idx', 'png'] : [only]) {
  let done = 0;
  for (let seed = 1; done < Number(executions); seed += 1) {
    const count = Math.min(partExecutions, Number(executions) - done);
    const args = [`${root}test/fuzz/fuzz.mjs`, target, String(seed), String(count), '86400'];
    const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
    const report = stdout.startsWith('{') ? JSON.parse(stdout) : { finding: { problem: stderr } };
    if (report.finding !== undefined) fail(`${target}, seed ${seed}: ${JSON.stringify(report)}`);
    done += report.executions;
    console.log(`${target}: ${done} executions, ${report.outcomes} outcomes with seed ${seed}`);
  }
}
