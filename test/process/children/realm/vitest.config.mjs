// Makes Vitest run every test file, and this package with it, in a realm of its own, as a user may do.
export default { test: { pool: process.env.POOL, include: ['codes.mjs'] } };
