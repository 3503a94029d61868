// Does what every row of the install matrix does with the package: trains a little, draws, also by the pretrained models,
// and says what it ran on.
import { createHash } from 'node:crypto';

/** `pixelcnn` is the module as this consumer got hold of it. Returns an object for the matrix to check. */
export async function draw({ openDevice, PixelCNN, train }) {
  const device = await openDevice({ backend: 'cpu' });
  const model = await PixelCNN.create(device, { hiddenChannels: 8, layers: 3, levels: 2, seed: 1 });
  const [count, height, width] = [8, 12, 12];
  const data = Uint8Array.from({ length: count * height * width }, (_, at) => (at % 5 < 2 ? 255 : 0));
  await train(model, { data, count, height, width, channels: 1 }, { steps: 3, batchSize: 4 });
  const images = await model.sample({ count: 4, height, width, seed: 1 });
  const hash = createHash('sha256').update(images.data);
  for (const name of ['digits', 'fashion']) {
    const pretrained = await PixelCNN.load(device, `pixelcnn:${name}`);
    hash.update((await pretrained.sample({ count: 1, labels: 7, seed: 1 })).data);
  }
  const { instructionSet } = device.info;
  await device.dispose();
  return {
    node: process.version,
    arch: process.arch,
    glibc: process.report.getReport().header.glibcVersionRuntime,
    instructionSet,
    binary: process.report.getReport().sharedObjects.find((file) => file.endsWith('.node')),
    sha256: hash.digest('hex'),
  };
}
