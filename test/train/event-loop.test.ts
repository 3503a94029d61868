// Training leaves the event loop alone: p99 of its delay stays within 5 ms.
import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

const limit = 5;
const library = new URL('../../dist/index.js', import.meta.url).href;

// In a process of its own: this one's loop belongs to the test runner.
const measure = `
import { monitorEventLoopDelay } from 'node:perf_hooks';
const { openDevice, PixelCNN, train } = await import(${JSON.stringify(library)});
const device = await openDevice({ backend: 'cpu' });
const model = await PixelCNN.create(device);
const count = 64;
const data = Uint8Array.from({ length: count * 784 }, (_, i) => (i * 37) % 256);
const images = { data, count, height: 28, width: 28, channels: 1 };
const busy = process.argv[1] === 'busy';
await train(model, images, { steps: 2 });
const delay = monitorEventLoopDelay({ resolution: 1 });
delay.enable();
// The planted failure: a fifth of the main thread's time goes into blocks of 20 ms.
const block = () => {
  for (const end = performance.now() + 20; performance.now() < end; );
};
const planted = busy ? setInterval(block, 80) : undefined;
for await (const event of train(model, images, { epochs: 1000, steps: 12 }));
clearInterval(planted);
delay.disable();
console.log(delay.percentile(99) / 1e6);
await device.dispose();
`;

function p99(mode: string): number {
  const node = spawnSync(process.execPath, ['--input-type=module', '--eval', measure, mode], {
    encoding: 'utf8',
  });
  expect(node.stderr).toBe('');
  return Number(node.stdout);
}

it(`p99 of the event-loop delay while training is at most ${limit} ms`, () => {
  const measured: number[] = [];
  // Other processes share the processors; one quiet measurement in three is enough.
  while (measured.length < 3 && !measured.some((value) => value <= limit)) measured.push(p99('quiet'));
  console.info(
    `event-loop delay p99 while training: ${measured.map((value) => value.toFixed(2)).join(', ')} ms`,
  );
  expect(Math.min(...measured)).toBeLessThanOrEqual(limit);
});

it('the measurement notices a busy main thread', () => {
  expect(p99('busy')).toBeGreaterThan(limit);
});
