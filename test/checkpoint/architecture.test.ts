// Tests that model files say which architecture they hold, and that no other is read from them.
import { expect, it } from 'vitest';
import { decodeModel, encodeModel } from '../../src/checkpoint/model-file.js';
import { parseSafetensors } from '../../src/checkpoint/safetensors.js';
import { networkOf } from '../../src/models/architectures.js';
import { initialParameters } from '../../src/models/initial-values.js';
import { parseConfig } from '../../src/models/parse-config.js';

const sizes = { hiddenChannels: 4, layers: 2, levels: 2, kernelSize: 3 };

async function fileOf(options: object) {
  const config = parseConfig('test', { ...sizes, ...options });
  const parameters = await initialParameters(networkOf(config).parameters, 1);
  return { config, bytes: encodeModel({ config, imageSize: undefined, weights: 'raw', parameters }) };
}

it('the configuration of a plain network names no architecture, as before there were others', async () => {
  const { bytes } = await fileOf({ architecture: 'plain' });
  const { metadata } = parseSafetensors(bytes);
  expect(JSON.parse(metadata['pixelcnn.config']!)).toEqual({ channels: 1, ...sizes });
});

it('that of a gated network is complete, and its dead weights are 0', async () => {
  const { bytes, config } = await fileOf({ architecture: 'gated' });
  expect(config).toEqual({
    architecture: 'gated',
    channels: 1,
    ...sizes,
    firstKernelSize: 7,
    headChannels: 4,
  });
  const decoded = decodeModel(bytes);
  expect(decoded.config).toEqual(config);
  const { data } = decoded.parameters.get('layers.0.vertical.weight')!;
  // (8, 1, 4, 7), of which the last row is that of the pixel itself.
  expect(data.length).toBe(8 * 28);
  expect(data.every((value, i) => (i % 28 >= 21 ? value === 0 : value !== 0))).toBe(true);
});

it('what the caller expects must be there', async () => {
  const [plain, gated] = [(await fileOf({})).bytes, (await fileOf({ architecture: 'gated' })).bytes];
  expect(decodeModel(gated, { architecture: 'gated', headChannels: 4 }).config.architecture).toBe('gated');
  expect(() => decodeModel(gated, { architecture: 'plain' })).toThrow(
    'architecture is gated by its metadata, the options say plain',
  );
  expect(() => decodeModel(plain, { architecture: 'gated' })).toThrow(
    'architecture is plain by its metadata, the options say gated',
  );
  expect(() => decodeModel(plain, { headChannels: 4 })).toThrow(
    'the model is plain and has no headChannels by its metadata, the options say 4',
  );
});
