// Ends a training run with SIGKILL at random moments, 500 times or as often as the first argument says, and checks
// that no checkpoint is torn and no acknowledged step lost. `npm run test:slow` does the same 40 times.
import { npmCommand, step } from '../steps.mjs';

const kills = process.argv[2] ?? '500';
step('TypeScript build', npmCommand('tsc'), ['-p', 'tsconfig.build.json']);
step(`${kills} kills`, npmCommand('vitest'), ['run', 'test/crash/kills.slow.test.ts'], {
  show: true,
  env: { PIXELCNN_KILLS: kills },
});
