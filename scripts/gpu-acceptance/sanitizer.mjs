// Part `sanitizer`: the kernel tests on a few shapes under every tool of compute-sanitizer.
import { spawnSync } from 'node:child_process';

const tools = ['memcheck', 'racecheck', 'synccheck', 'initcheck'];

export async function sanitizer({ programs, emulated }) {
  if (emulated) {
    // The checked programs are the emulator's own sanitizer.
    return { failures: runAll(programs, (program) => [program, ['8', '3']]), tools: ['emulator'] };
  }
  const failures = tools.flatMap((tool) =>
    runAll(programs, (program) => [
      'compute-sanitizer',
      ['--tool', tool, '--error-exitcode', '9', '--print-limit', '5', program, '8', '3'],
    ]).map((failure) => `${tool} ${failure}`),
  );
  return { failures, tools };
}

function runAll(programs, commandOf) {
  return programs.flatMap((program) => {
    const [command, args] = commandOf(program);
    // Memory that the tests would otherwise poison.
    const env = args.includes('initcheck') ? { ...process.env, PIXELCNN_TEST_INITCHECK: '1' } : process.env;
    const run = spawnSync(command, args, { encoding: 'utf8', maxBuffer: 1 << 26, timeout: 280_000, env });
    if (run.status === 0) return [];
    const why = run.error?.message ?? `exit code ${run.status ?? run.signal}`;
    return [
      `${program.split('/').at(-1)}: ${why} ${((run.stdout ?? '') + (run.stderr ?? '')).trim().slice(-2000)}`,
    ];
  });
}
