// Tests which ops the gradients of a network are, and in which order: none that nothing needs.
import { expect, it } from 'vitest';
import { recordNats } from '../../src/models/network.js';
import { PlainNetwork } from '../../src/models/plain.js';
import { recordGradients } from '../../src/ops/gradients.js';
import { Recorder } from '../../src/program/recorder.js';
import { describeTensor } from '../../src/program/tensor.js';
import { testDevice } from '../helpers/models.js';

const device = testDevice();

it('each layer has one op for its weights and, unless it reads the image, one for its input', () => {
  const config = { channels: 1, hiddenChannels: 5, layers: 4, levels: 3, kernelSize: 3 };
  const network = new PlainNetwork(config);
  const tensors = (what: string) =>
    new Map(
      Array.from(network.parameters, ({ name, shape }) => [
        name,
        describeTensor(`${what} ${name}`, shape, 'float32'),
      ]),
    );
  const options = { parameters: tensors('parameter'), gradients: tensors('gradient') };
  const r = new Recorder(device(), options);
  const bytes = r.input('bytes', [2, 4, 5, 1], 'uint8');
  recordNats(r, { network, config }, { bytes, condition: null });
  const before = r.ops.length;
  recordGradients(r);
  const labels = r.ops.slice(before).flatMap(({ op, label }) => (op === 'maskedConv2dPack' ? [] : [label]));
  expect(labels).toEqual([
    'net.4 weight gradient',
    'net.4 input gradient',
    'net.2 weight gradient',
    'net.2 input gradient',
    'net.0 weight gradient',
  ]);
});
