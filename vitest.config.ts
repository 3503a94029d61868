// Which tests there are, by the names of their files, and what may run beside what:
//   NAME.test.ts              quick: part of `npm test`
//   NAME.timed.test.ts        quick, but it measures time or memory, so that nothing else may run beside it
//   NAME.slow.test.ts         part of `npm run test:slow`
//   NAME.slow.timed.test.ts   both
import { defineConfig } from 'vitest/config';

const timed = 'test/**/*.timed.test.ts';
const slow = 'test/**/*.slow.test.ts';
const slowTimed = 'test/**/*.slow.timed.test.ts';

/** Projects run in the order of their groups, their files beside each other. Two cores are all we count on. */
const project = (name: string, groupOrder: number, options: object) => ({
  extends: true as const,
  test: { name, maxWorkers: 2, ...options, sequence: { groupOrder } },
});

export default defineConfig({
  test: {
    // A native crash must not take the whole run with it.
    pool: 'forks',
    testTimeout: 60_000,
    projects: [
      project('quick', 0, { include: ['test/**/*.test.ts'], exclude: [timed, slow] }),
      project('timed', 1, { include: [timed], exclude: [slowTimed], maxWorkers: 1 }),
      project('slow', 2, { include: [slow] }),
      project('slow timed', 3, { include: [slowTimed], maxWorkers: 1 }),
    ],
  },
});
