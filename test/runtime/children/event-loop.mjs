// Measures the delay of the event loop while the model works: argv[2] is `sample`, `likelihood` or `open`. Prints JSON.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { openDevice, PixelCNN } from '../../../dist/index.js';

const device = await openDevice({ backend: 'cpu' });
const model = await PixelCNN.create(device, {});
const images = { data: new Uint8Array(96 * 784), count: 96, height: 28, width: 28, channels: 1 };
const work = {
  sample: () => model.sample({ count: 16, height: 28, width: 28, seed: 1 }),
  likelihood: () => model.logLikelihood(images),
  open: async () => (await openDevice({ backend: 'cuda' })).dispose(),
  block: () => {
    const end = performance.now() + 40;
    while (performance.now() < end);
    return new Promise((resolve) => setTimeout(resolve, 1));
  },
}[process.argv[2]];
await work();
const resolution = 1;
const histogram = monitorEventLoopDelay({ resolution });
const start = performance.now();
histogram.enable();
while (performance.now() - start < 2500) await work();
histogram.disable();
const milliseconds = (nanoseconds) => nanoseconds / 1e6 - resolution;
console.log(
  JSON.stringify({
    p50: milliseconds(histogram.percentile(50)),
    p99: milliseconds(histogram.percentile(99)),
    max: milliseconds(histogram.max),
    count: histogram.count,
  }),
);
await device.dispose();
