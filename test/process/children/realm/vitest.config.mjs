// Vitest as a user may run it: every test file, and this package with it, in a realm of its own.
export default { test: { pool: process.env.POOL, include: ['codes.mjs'] } };
