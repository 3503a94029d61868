// The readers that are fuzzed: files to start from, changes that keep a format's frame whole, and what must hold of
// whatever a reader accepts. A target's `run` returns a word for the outcome; anything but a PixelCnnError is a finding.
import { readdirSync, readFileSync } from 'node:fs';
import { crc32, deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib';
import { decodeModel, encodeModel } from '../../dist/checkpoint/model-file.js';
import { encodeSafetensors, parseSafetensors } from '../../dist/checkpoint/safetensors.js';
import { checksum } from '../../dist/checkpoint/safetensors-format.js';
import { decodeIdx, idxImages } from '../../dist/data/idx.js';
import { decodePng, encodePng } from '../../dist/data/png.js';
import { PixelCnnError } from '../../dist/errors.js';
import { layersOf, parseConfig } from '../../dist/models/config.js';
import { initialParameters } from '../../dist/models/parameters.js';
import { mutateBytes, mutateText } from './mutations.mjs';

const corpus = new URL('../corpus/safetensors/', import.meta.url);
const bytesOf = (length, step = 7) => Uint8Array.from({ length }, (_, i) => (i * step) % 251);

/** Runs `read`; a typed error is an outcome, any other error a finding. */
function outcomeOf(read, verify) {
  let value;
  try {
    value = read();
  } catch (error) {
    if (!(error instanceof PixelCnnError)) throw error;
    // The text without its values tells the checks of one code apart.
    const text = error.message.replace(
      / got .*|"(?:[^"\\]|\\.)*"|'[^']*'|(?:chunk|after) \w+|\S*\d\S*/gs,
      '',
    );
    return `${error.code} ${text.slice(0, 40)}`;
  }
  return verify(value);
}

function require(condition, what) {
  if (!condition) throw new Error(`accepted, but ${what}`);
}

const product = (shape) => shape.reduce((all, size) => all * size, 1);

// ---- safetensors

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
  // A checksum that fits, or nothing behind it would ever be reached.
  const key = '"pixelcnn.sha256":"';
  const at = bytes.indexOf(key);
  if (at > 0 && at + key.length + 64 < 8 + text.length) {
    const start = at + key.length;
    bytes.write(checksum(bytes, start), start, 'latin1');
  }
  return bytes;
}

function modelSeed() {
  const config = parseConfig('fuzz', { hiddenChannels: 1, layers: 2, levels: 2, kernelSize: 1 });
  const parameters = initialParameters(layersOf(config), 1);
  return encodeModel({ config, imageSize: { height: 2, width: 3 }, parameters, average: parameters });
}

const safetensors = {
  limit: 4096,
  seeds: () => [
    ...readdirSync(corpus)
      .filter((name) => name.endsWith('.safetensors'))
      .sort()
      .map((name) => readFileSync(new URL(name, corpus))),
    modelSeed(),
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
      for (const { name, k } of layersOf(config)) {
        require(parameters.get(`${name}.bias`).data.length === k, `${name}.bias has another size`);
      }
      return 'model';
    },
  );
}

// ---- IDX

function idxFile(type, shape, data) {
  const header = Buffer.alloc(4 + 4 * shape.length);
  header.set([0, 0, type, shape.length]);
  for (const [i, size] of shape.entries()) header.writeUInt32BE(size, 4 + 4 * i);
  return Buffer.concat([header, data]);
}

const elementBytes = { uint8: 1, int8: 1, int16: 2, int32: 4, float32: 4, float64: 8 };

/** The reader of IDX files, or one in its place. */
export const idxTarget = (decode) => ({
  limit: 2048,
  seeds() {
    const plain = [
      idxFile(8, [2, 5, 4], bytesOf(40)),
      idxFile(8, [1, 2, 2, 3], bytesOf(12)),
      idxFile(8, [6], bytesOf(6)),
      idxFile(9, [3], bytesOf(3)),
      idxFile(0x0b, [2, 2], bytesOf(8)),
      idxFile(0x0c, [2], bytesOf(8)),
      idxFile(0x0d, [2], Buffer.from(Float32Array.of(1, -2).buffer)),
      idxFile(0x0e, [1], Buffer.from(Float64Array.of(1.5).buffer)),
    ];
    return [...plain, ...plain.map((bytes) => gzipSync(bytes)), gzipSync(plain[0], { level: 0 })];
  },
  mutate(random, bytes, other) {
    if (bytes[0] !== 0x1f || random.oneIn(2)) return mutateBytes(random, bytes, other, this.limit);
    try {
      const inner = gunzipSync(bytes, { maxOutputLength: this.limit });
      return gzipSync(mutateBytes(random, inner, other, this.limit), { level: random.pick([0, 1]) });
    } catch {
      return mutateBytes(random, bytes, other, this.limit);
    }
  },
  run(bytes) {
    return outcomeOf(
      () => decode(bytes, { maxBytes: 2 ** 22 }),
      (array) => {
        const { type, shape, data } = array;
        require(data.length === product(shape), 'its data do not fit its shape');
        require(data.BYTES_PER_ELEMENT === elementBytes[type], 'its data are of another type');
        if (type === 'uint8' && bytes[0] === 0) {
          require(idxFile(8, shape, data).equals(bytes), 'it is not what the file says');
        }
        return `accept ${type} ${shape.length} ${outcomeOf(
          () => idxImages(array),
          ({ channels }) => channels,
        )}`;
      },
    );
  },
});

// ---- PNG

const signature = Buffer.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);

function splitPng(bytes) {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const chunks = [];
  for (let at = 8; at + 12 <= file.length; ) {
    const length = file.readUInt32BE(at);
    if (at + 12 + length > file.length) break;
    chunks.push({ type: file.subarray(at + 4, at + 8), data: file.subarray(at + 8, at + 8 + length) });
    at += 12 + length;
  }
  return chunks;
}

function joinPng(chunks) {
  const parts = chunks.flatMap(({ type, data }) => {
    const body = Buffer.concat([type, data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length);
    ends.writeUInt32BE(crc32(body), 4);
    return [ends.subarray(0, 4), body, ends.subarray(4)];
  });
  return Buffer.concat([signature, ...parts]);
}

const chunkOf = (type, data) => ({ type: Buffer.from(type), data: Buffer.from(data) });

/** An image of `rows` bytes, filter bytes included. */
function pngSeed(width, height, [depth, color, interlace], rows, before = []) {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width);
  header.writeUInt32BE(height, 4);
  header.set([depth, color, 0, 0, interlace], 8);
  const idat = chunkOf('IDAT', deflateSync(Uint8Array.from({ length: rows }, (_, i) => i % 5)));
  return joinPng([chunkOf('IHDR', header), ...before, idat, chunkOf('IEND', [])]);
}

const png = {
  limit: 2048,
  seeds: () => [
    ...[1, 2, 3, 4].map((channels) =>
      encodePng({ data: bytesOf(20 * channels), width: 5, height: 4, channels }),
    ),
    pngSeed(3, 2, [1, 0, 0], 4),
    pngSeed(3, 2, [2, 0, 0], 4),
    pngSeed(3, 2, [4, 0, 0], 6, [chunkOf('tRNS', [0, 3])]),
    pngSeed(2, 5, [8, 2, 0], 35, [chunkOf('tRNS', [0, 1, 0, 2, 0, 3]), chunkOf('gAMA', [0, 0, 1, 1])]),
    pngSeed(2, 2, [2, 3, 0], 4, [chunkOf('PLTE', bytesOf(12)), chunkOf('tRNS', [9])]),
    pngSeed(8, 8, [8, 0, 1], 79),
    pngSeed(5, 3, [4, 3, 1], 19, [chunkOf('PLTE', bytesOf(48))]),
    pngSeed(1, 1, [16, 0, 0], 3),
  ],
  mutate(random, bytes, other) {
    const chunks = splitPng(bytes);
    if (chunks.length === 0 || random.oneIn(6)) return mutateBytes(random, bytes, other, this.limit);
    for (let changes = 1 + random.below(2); changes > 0; changes -= 1) {
      const at = random.below(chunks.length);
      const chunk = chunks[at] ?? chunks[0];
      const others = splitPng(other);
      switch (random.below(8)) {
        case 0:
          if (chunks.length > 1) chunks.splice(at, 1);
          break;
        case 1:
          chunks.splice(at, 0, random.pick([...chunks, ...others]));
          break;
        case 2:
          chunks[at] = {
            ...chunk,
            type: Buffer.from(random.pick(['IHDR', 'PLTE', 'tRNS', 'IDAT', 'IEND', 'tEXt', 'ABCD'])),
          };
          break;
        case 3:
          chunks.splice(random.below(chunks.length), 0, ...chunks.splice(at, 1));
          break;
        default:
          chunks[at] = { ...chunk, data: this.mutateData(random, chunk, other) };
      }
    }
    return joinPng(chunks).subarray(0, this.limit);
  },
  mutateData(random, { type, data }, other) {
    if (type.toString() !== 'IDAT' || random.oneIn(4)) return mutateBytes(random, data, other, this.limit);
    try {
      const rows = inflateSync(data, { maxOutputLength: this.limit });
      return deflateSync(mutateBytes(random, rows, other, this.limit), { level: 1 });
    } catch {
      return mutateBytes(random, data, other, this.limit);
    }
  },
  run(bytes) {
    return outcomeOf(
      () => decodePng(bytes, { maxBytes: 2 ** 22 }),
      (image) => {
        const { data, width, height, channels } = image;
        require(data.length === width * height * channels, 'its data do not fit its shape');
        require(data.length <= 2 ** 22, 'it is larger than the limit');
        if (data.length < 4096) {
          const again = decodePng(encodePng(image));
          require(Buffer.compare(again.data, data) === 0 && again.width === width, 'it does not round trip');
        }
        return `accept ${channels}`;
      },
    );
  },
};

export const targets = { safetensors, idx: idxTarget(decodeIdx), png };
