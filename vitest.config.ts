import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    // A native crash must not take the whole run with it, and two cores are all we count on.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
  },
});
