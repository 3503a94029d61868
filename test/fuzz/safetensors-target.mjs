// Lets the fuzzer test the reader of safetensors files and of the models in them.
import { readdirSync, readFileSync } from 'node:fs';
import { decodeModel, encodeModel } from '../../dist/checkpoint/model-file.js';
import { encodeSafetensors, parseSafetensors } from '../../dist/checkpoint/safetensors.js';
import { checksum } from '../../dist/checkpoint/safetensors-format.js';
import { networkOf } from '../../dist/models/architectures.js';
import { initialParameters } from '../../dist/models/initial-values.js';
import { parseConfig } from '../../dist/models/parse-config.js';
import { mutateBytes, mutateText } from './mutations.mjs';
import { bytesOf, outcomeOf, product, require } from './outcome.mjs';

const corpus = new URL('../corpus/safetensors/', import.meta.url);

const words = [
  '"dtype"',
  '"shape"',
  '"data_offsets"',
  '"__metadata__"',
  '"F32"',
  '"I64"',
  '"BOOL"',
  '"F4"',
  '"U8"',
  '"net.0.bias"',
  '"net.2.mask"',
  '"0.weight"',
  '"ema.net.0.weight"',
  '"n_averaged"',
  '"layers.0.link.weight"',
  '"layers.1.vertical.mask"',
  '"module.',
  '"pixelcnn.version"',
  '"pixelcnn.config"',
  '"pixelcnn.sha256"',
  '"__proto__"',
  '"\\u0077"',
  '"\\ud800"',
  '{',
  '}',
  '[',
  ']',
  ',',
  ':',
  'null',
  'true',
  '[]',
  '{}',
  '[0,0]',
  '""',
];

function splitSafetensors(bytes) {
  if (bytes.length < 8) return undefined;
  const length = Number(Buffer.from(bytes).readBigUInt64LE());
  if (length > bytes.length - 8) return undefined;
  return { header: Buffer.from(bytes.subarray(8, 8 + length)).toString(), data: bytes.subarray(8 + length) };
}

function joinSafetensors(header, data) {
  const text = Buffer.from(header);
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  const bytes = Buffer.concat([prefix, text, data]);
  // Correct the checksum, because otherwise no check after it would ever be reached.
  const key = '"pixelcnn.sha256":"';
  const at = bytes.indexOf(key);
  if (at > 0 && at + key.length + 64 < 8 + text.length) {
    const start = at + key.length;
    bytes.write(checksum(bytes, start), start, 'latin1');
  }
  return bytes;
}

const config = parseConfig('fuzz', { hiddenChannels: 1, layers: 2, levels: 2, kernelSize: 1 });
const parameters = await initialParameters(networkOf(config).parameters, 1);

/** Makes a PyTorch state dict under `prefix`, with the tensors that `more` adds for each layer. */
function stateDict(prefix, more) {
  const tensors = new Map();
  const weights = [...networkOf(foreign).parameters].filter(({ filter }) => filter !== null);
  for (const [index, { name, shape }] of weights.entries()) {
    const own = `${prefix}${index}`;
    const weight = foreignParameters.get(name).data;
    tensors.set(`${own}.weight`, {
      dtype: 'F32',
      shape,
      data: bytesOfFloats(weight),
    });
    tensors.set(`${own}.bias`, { dtype: 'F32', shape: [shape[0]], data: bytesOf(4 * shape[0], 0) });
    for (const [part, tensor] of more(shape[2])) tensors.set(part.replace('*', own), tensor);
  }
  return encodeSafetensors(tensors, { format: 'pt' });
}

const foreign = parseConfig('fuzz', { hiddenChannels: 2, layers: 3, levels: 2, kernelSize: 3 });
const foreignParameters = await initialParameters(networkOf(foreign).parameters, 2);
const bytesOfFloats = (data) =>
  new Uint8Array(data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength));
/** Makes the state dict of a gated network, whose names are those of our files. */
function gatedStateDict(prefix) {
  const tensors = [...networkOf(gated).parameters].map(({ name, shape }) => {
    return [`${prefix}${name}`, { dtype: 'F32', shape, data: bytesOfFloats(gatedParameters.get(name).data) }];
  });
  return encodeSafetensors(new Map(tensors), { format: 'pt' });
}

const gatedSizes = { architecture: 'gated', hiddenChannels: 1, levels: 2 };
const gated = parseConfig('fuzz', { ...gatedSizes, layers: 2, kernelSize: 1, firstKernelSize: 3 });
const gatedParameters = await initialParameters(networkOf(gated).parameters, 3);

/** Allows only the positions before the centre, as mask A does. It is stricter than mask B. */
const mask = (size) => {
  const data = Uint8Array.from({ length: size * size }, (_, at) => Number(at < (size * size - 1) / 2));
  return ['*.mask', { dtype: 'BOOL', shape: [size, size], data }];
};

export const safetensorsTarget = {
  limit: 4096,
  seeds: () => [
    ...readdirSync(corpus)
      .filter((name) => name.endsWith('.safetensors'))
      .sort()
      .map((name) => readFileSync(new URL(name, corpus))),
    encodeModel({
      config,
      imageSize: { height: 2, width: 3 },
      weights: 'raw',
      parameters,
      average: parameters,
    }),
    stateDict('module.net.', () => []),
    stateDict('', (size) => [mask(size)]),
    gatedStateDict(''),
    encodeSafetensors(
      new Map([
        ['a', { dtype: 'F32', shape: [2, 1], data: bytesOf(8) }],
        ['b', { dtype: 'BOOL', shape: [3], data: Uint8Array.of(0, 1, 1) }],
        ['c', { dtype: 'F64', shape: [], data: bytesOf(8, 3) }],
        ['d', { dtype: 'U8', shape: [0], data: new Uint8Array(0) }],
      ]),
      { format: 'pt' },
      { checksum: true },
    ),
  ],
  mutate(random, bytes, other) {
    const parts = random.oneIn(3) ? undefined : splitSafetensors(bytes);
    if (parts === undefined) return mutateBytes(random, bytes, other, this.limit);
    const data = random.oneIn(4) ? mutateBytes(random, parts.data, other, this.limit) : parts.data;
    const header = random.oneIn(4)
      ? mutateBytes(random, Buffer.from(parts.header), other, this.limit)
      : mutateText(random, parts.header, words);
    return joinSafetensors(header, data).subarray(0, this.limit);
  },
  run(bytes) {
    return outcomeOf(
      () => parseSafetensors(bytes),
      ({ tensors, metadata }) => {
        let total = 0;
        for (const [name, { shape, data }] of tensors) {
          total += data.length;
          require(shape.length <= 8 &&
            product(shape) <= 8 * data.length, `${name} is smaller than its shape`);
        }
        require(total === splitSafetensors(bytes).data.length, 'its tensors are not the data section');
        const again = parseSafetensors(encodeSafetensors(tensors, metadata));
        require(again.tensors.size === tensors.size, 'it does not round trip');
        for (const [name, { dtype, shape, data }] of again.tensors) {
          const first = tensors.get(name);
          require(first.dtype === dtype &&
            String(first.shape) === String(shape), `${name} does not round trip`);
          require(Buffer.compare(first.data, data) === 0, `${name} has other data after a round trip`);
        }
        return `accept ${runModel(bytes)}`;
      },
    );
  },
};

function runModel(bytes) {
  return outcomeOf(
    () => decodeModel(bytes),
    ({ config, parameters }) => {
      const declared = [...networkOf(config).parameters];
      for (const { name, shape } of declared) {
        const size = shape.reduce((product, side) => product * side, 1);
        require(parameters.get(name).data.length === size, `${name} has another size`);
      }
      for (const [name, { data }] of parameters)
        require(data.every(Number.isFinite), `${name} is not finite`);
      require(parameters.size === declared.length, 'it has other tensors than its layers');
      return 'model';
    },
  );
}
