// Draws in two worker threads at once.
import { Worker } from 'node:worker_threads';

const script = new URL('./worker-thread.mjs', import.meta.url);
const results = await Promise.all(
  [1, 2].map(
    () =>
      new Promise((resolve, reject) => {
        new Worker(script).on('message', resolve).on('error', reject);
      }),
  ),
);
if (results[0].sha256 !== results[1].sha256) throw new Error('two workers drew different images');
console.log(JSON.stringify(results[0]));
