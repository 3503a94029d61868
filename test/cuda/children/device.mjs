// Opens a GPU, uses it and prints what happened as JSON. The variables of the emulator say what kind of GPU it is.
// Usage: node device.mjs '{"precision":"f32"}' SAMPLES …   draws so many images, one call after the other
import { openDevice, PixelCNN } from '../../../dist/index.js';

const [options, ...counts] = process.argv.slice(2);
const describe = ({ code, message, remedy }) => ({ code, message, remedy });
const report = { calls: [] };
try {
  const device = await openDevice({ backend: 'cuda', ...JSON.parse(options) });
  report.info = device.info;
  if (counts.length > 0) {
    const model = await PixelCNN.create(device, { hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 });
    for (const count of counts.map(Number)) {
      try {
        const { data } = await model.sample({ count, height: 6, width: 6, seed: 1 });
        report.calls.push({ drawn: Buffer.from(data).toString('hex') });
      } catch (error) {
        report.calls.push(describe(error));
      }
    }
  }
  await device.dispose();
} catch (error) {
  report.error = describe(error);
}
process.stdout.write(JSON.stringify(report));
