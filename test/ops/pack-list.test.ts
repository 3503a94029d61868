// Tests that a program with more filters than one op packs has the same results as one that packs each filter where it is used.
import { expect, it } from 'vitest';
import { recordLogits } from '../../src/models/network.js';
import { Program } from '../../src/program/program.js';
import { Recorder } from '../../src/program/recorder.js';
import { expectSameBits } from '../helpers/close.js';
import { testGpu } from '../helpers/cuda.js';
import { randomImages, randomModel, testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';

const devices = { cpu: testDevice(), gpu: testGpu() };

it.each(['cpu', 'gpu'] as const)('40 layers, %s', async (name) => {
  const device = devices[name]();
  const config = { channels: 1, hiddenChannels: 6, layers: 40, levels: 2, kernelSize: 3 };
  const model = await randomModel(device, config, 1);
  const images = randomImages(new TestRandom(2), 2, 4, 5, 1);
  const packedTogether = await model.logits(images, { algorithm: 'direct' });

  const { raw, network } = model.internals();
  const r = new Recorder(device, { parameters: raw.byName });
  const bytes = r.input('bytes', [2, 4, 5, 1], 'uint8');
  r.output(recordLogits(r, { network, config }, { bytes, condition: null }));
  const program = await Program.compile(r);
  const [logits] = await program.run([images.data]);
  expectSameBits('logits', packedTogether.data, new Float32Array(logits!));
  expect(new Set(packedTogether.data).size).toBeGreaterThan(10);
  program.dispose();
  model.dispose();
});
