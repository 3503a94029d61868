// Tests that files of other formats that are given as a model are named.
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { decodeModel } from '../../src/checkpoint/model-file.js';
import {
  encodeSafetensors,
  parseSafetensors,
  type SafetensorsTensor,
} from '../../src/checkpoint/safetensors.js';
import { PixelCnnError } from '../../src/errors.js';
import { encodePng } from '../../src/index.js';
import { codeOf } from '../helpers/damage.js';

const latin1 = (text: string) => Buffer.from(text, 'latin1');
/** Makes the start of a zip file: a local header and some bytes of the entry. */
const zipEntry = (name: string, rest = '') => {
  const header = Buffer.alloc(30);
  header.write('PK\x03\x04', 0, 'latin1');
  header.writeUInt16LE(name.length, 26);
  return Buffer.concat([header, latin1(name + rest)]);
};
const picture = encodePng({ data: new Uint8Array(16), width: 4, height: 4, channels: 1 });
const idx = Buffer.concat([Buffer.from([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4]), Buffer.alloc(16)]);
const tar = Buffer.alloc(1024);
tar.write('model/weights.bin', 0);
tar.write('ustar', 257);

const given: readonly [what: string, bytes: Uint8Array, remedy: RegExp][] = [
  [
    'a PyTorch file (.pt, a zip with a pickle in it)',
    zipEntry('archive/data.pkl', '\x80\x02}'),
    /torch\.load.*weights_only=True.*state_dict.*save_file/,
  ],
  ['a PyTorch file (.pt, a zip with a pickle in it)', zipEntry('model/.format_version', '1'), /torch\.load/],
  ['a TorchScript model (.pt, a zip)', zipEntry('net/code/__torch__.py', 'class'), /state_dict/],
  [
    'a zip archive (.zip, .npz, or .pt of PyTorch)',
    Buffer.concat([latin1('PK\x03\x04'), Buffer.alloc(60, 7)]),
    /unpack it.*torch\.load/,
  ],
  ['NumPy arrays (.npz, a zip)', zipEntry('weights.npy', '\x93NUMPY'), /safetensors/],
  ['a NumPy array (.npy)', latin1('\x93NUMPY\x01\0v\0{...}'), /safetensors/],
  [
    'a Python pickle, as torch.save wrote it in old versions of PyTorch',
    latin1('\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M'),
    /torch\.load/,
  ],
  [
    'a Python pickle, as torch.save wrote it in old versions of PyTorch',
    latin1('\x80\x04\x95\x1a\0\0\0\0\0\0\0}\x94'),
    /torch\.load/,
  ],
  [
    'a Git LFS pointer, not the file itself',
    latin1('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n'),
    /git lfs pull/,
  ],
  [
    'a web page (HTML or XML), not the file that was to be downloaded',
    latin1('<!DOCTYPE html><html></html>'),
    /download it again/,
  ],
  [
    'a web page (HTML or XML), not the file that was to be downloaded',
    latin1('<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
    /download it again/,
  ],
  ['an HDF5 file (Keras, .h5)', latin1('\x89HDF\r\n\x1a\n\0\0\0\0'), /safetensors/],
  ['an ONNX model', latin1('\x08\x08\x12\x07pytorch\x1a\x052.1.0:'), /safetensors/],
  ['a GGUF model', latin1('GGUF\x03\0\0\0\x10\0\0\0\0\0\0\0'), /safetensors/],
  ['gzip-compressed data', gzipSync(encodeSafetensors(new Map())), /gunzip/],
  ['a tar archive', tar, /unpack/],
  ['a 7z archive', latin1('7z\xbc\xaf\x27\x1c\0\x04'), /unpack/],
  ['xz-compressed data', latin1('\xfd7zXZ\0\0\x04'), /unpack/],
  ['zstd-compressed data', latin1('\x28\xb5\x2f\xfd\x24\0\x01\0\0'), /unpack/],
  ['a picture', picture, /--data/],
  ['a picture', latin1('\xff\xd8\xff\xe0\0\x10JFIF\0'), /--data/],
  ['an IDX file (images or labels)', idx, /--data/],
  [
    'a JSON text',
    latin1('{\n  "weight_map": {"net.0.weight": "model-00001.safetensors"}}'),
    /safetensors file itself/,
  ],
  ['a JSON text', latin1('{"channels":1,"levels":2}'), /safetensors file itself/],
  ['a text, perhaps the answer of a server', latin1('Entry not found'), /editor/],
  ['a text, perhaps the answer of a server', latin1('import torch\nprint(1)\n'), /editor/],
];

describe('is called what it is', () => {
  it.each(given)('%s', (what, bytes, remedy) => {
    for (const [read, name] of [
      [() => decodeModel(bytes, {}, 'm.safetensors'), 'm.safetensors'],
      [() => parseSafetensors(bytes), 'the model file'],
    ] as const) {
      let error: unknown;
      try {
        read();
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(PixelCnnError);
      const known = error as PixelCnnError;
      expect(known.code).toBe('CKPT_FORMAT');
      expect(known.message).toBe(`${name} is ${what}; models are safetensors files`);
      expect(known.remedy).toMatch(remedy);
      expect((known.cause as PixelCnnError).code).toMatch(/^CKPT_(?!FORMAT)/);
    }
  });
});

/** Makes a valid file whose header has `bytes` bytes. That number is also what the file starts with. */
function fileWithHeaderOf(bytes: number): Uint8Array {
  const tensors = new Map<string, SafetensorsTensor>([
    ['x', { dtype: 'F32', shape: [1], data: new Uint8Array(4) }],
  ]);
  const short = encodeSafetensors(tensors);
  const header = Number(new DataView(short.buffer, short.byteOffset).getBigUint64(0, true));
  const json = Buffer.from(short.subarray(8, 8 + header))
    .toString()
    .trimEnd();
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(bytes));
  return Buffer.concat([length, Buffer.from(json.padEnd(bytes)), Buffer.alloc(4)]);
}

describe('safetensors files stay what they are', () => {
  it.each([
    ['a pickle', 0x0280],
    ['a pickle of protocol 4', 0x0480],
    ['gzip', 0x8b1f],
    ['an ONNX model', 0x120108],
    ['an IDX file', 0x03080000],
  ])('whose length begins like %s', (_, bytes) => {
    const file = fileWithHeaderOf(bytes);
    expect(codeOf(() => parseSafetensors(file))).toBe('accept');
    expect(codeOf(() => parseSafetensors(file.subarray(0, -1)))).toBe('CKPT_TRUNCATED');
    const broken = Uint8Array.from(file);
    broken[9] = 0x7b;
    expect(codeOf(() => parseSafetensors(broken))).toBe('CKPT_HEADER_JSON');
  });

  it('and bytes that are nothing known keep the code of the header', () => {
    expect(codeOf(() => parseSafetensors(new Uint8Array(64)))).toBe('CKPT_HEADER_JSON');
    expect(codeOf(() => parseSafetensors(new Uint8Array(0)))).toBe('CKPT_HEADER_TOO_SMALL');
    expect(codeOf(() => parseSafetensors(new Uint8Array(64).fill(0xa7)))).toBe('CKPT_HEADER_TOO_LARGE');
  });
});
