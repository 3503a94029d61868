import { defineConfig } from 'vitest/config';

/** Files that measure time or memory: one after the other when the rest is done, since others would be in the way. */
const timed = [
  'test/examples/server-load.test.ts',
  'test/runtime/event-loop.test.ts',
  'test/runtime/exit-matrix.test.ts',
  'test/runtime/limits.test.ts',
  'test/runtime/process-life.test.ts',
  'test/runtime/soak.test.ts',
  'test/sample/complete.test.ts',
  'test/train/event-loop.test.ts',
];

export default defineConfig({
  test: {
    // A native crash must not take the whole run with it.
    pool: 'forks',
    testTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'rest',
          include: ['test/**/*.test.ts'],
          exclude: timed,
          // Two cores are all we count on.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'timed', include: timed, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
