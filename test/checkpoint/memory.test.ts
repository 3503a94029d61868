// Tests that no malformed file makes the reader take more than 64 MB of memory.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeModel } from '../../src/checkpoint/model-file.js';
import { encodeSafetensors } from '../../src/checkpoint/safetensors.js';
import { networkOf } from '../../src/models/architectures.js';
import { initialParameters } from '../../src/models/initial-values.js';
import { parseConfig } from '../../src/models/parse-config.js';
import { runChild } from '../helpers/child.js';

const corpus = fileURLToPath(new URL('../corpus/safetensors/', import.meta.url));
const limit = 64;

let folder = '';
const paths: string[] = [];
const expected: Record<string, unknown> = {};
let valid = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pixelcnn-memory-'));
  const config = parseConfig('test', { hiddenChannels: 4, layers: 2, levels: 2, kernelSize: 3 });
  valid = join(folder, 'valid.safetensors');
  const parameters = await initialParameters(networkOf(config).parameters, 1);
  await writeFile(valid, encodeModel({ config, imageSize: undefined, weights: 'raw', parameters }));
  const manifest = JSON.parse(await readFile(`${corpus}manifest.json`, 'utf8')) as {
    file: string;
    code?: string;
  }[];
  // The reader accepts some of the files, but they are no models: the error then comes from their shapes.
  for (const { file, code } of manifest) add(corpus + file, code === 'CKPT_NONFINITE' ? undefined : code);

  const header = (json: string, data = 0) => {
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(json.length));
    return Buffer.concat([prefix, Buffer.from(json), Buffer.alloc(data)]);
  };
  const entry = (name: string, shape: string) =>
    `"${name}":{"dtype":"F32","shape":${shape},"data_offsets":[0,0]}`;
  const many = Array.from({ length: 100_000 }, (_, i) => entry(`t${i}`, '[0]')).join(',');
  const huge = { channels: 1, hiddenChannels: 2048, layers: 60, levels: 256, kernelSize: 1 };
  const metadata = { 'pixelcnn.version': '1', 'pixelcnn.config': JSON.stringify(huge) };
  const long: [string, Uint8Array, string][] = [
    ['B15', header(`{"__metadata__":${'['.repeat(100_000)}`), 'CKPT_LIMIT'],
    ['C15', header(`{${entry('t', `[${'9'.repeat(1_000_000)}]`)}}`), 'CKPT_SHAPE'],
    ['C34', header(`{${entry('n'.repeat(2 ** 20), '[0]')}}`), 'CKPT_LIMIT'],
    ['C36', header(`{${entry('t', `[${'1,'.repeat(999_999)}1]`)}}`), 'CKPT_LIMIT'],
    ['E01', header(`{${many}}`), 'CKPT_LIMIT'],
    [
      'a model of 2^28 parameters',
      encodeSafetensors(new Map(), metadata, { checksum: true }),
      'CKPT_MISSING_TENSOR',
    ],
  ];
  for (const [name, bytes, code] of long) {
    const path = join(folder, name);
    await writeFile(path, bytes);
    add(path, code);
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function add(path: string, code: string | undefined): void {
  paths.push(path);
  expected[path] = code ?? expect.stringMatching(/^CKPT_/);
}

interface Report {
  readonly megabytes: number;
  readonly verdicts: Record<string, string>;
}

async function load(...args: string[]): Promise<Report> {
  const { code, stdout, stderr } = await runChild('checkpoint/children/memory.mjs', {
    args: [...args, valid, ...paths],
  });
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Report;
}

describe('peak memory', () => {
  it(`grows by at most ${limit} MB`, async () => {
    const { megabytes, verdicts } = await load();
    console.log(`peak growth over ${paths.length} malformed files: ${megabytes.toFixed(1)} MB`);
    expect(verdicts).toEqual({ [valid]: 'accept', ...expected });
    expect(megabytes).toBeLessThanOrEqual(limit);
  });

  it('would notice a reader that allocates what the header length says', async () => {
    expect((await load('--trust-header')).megabytes).toBeGreaterThan(limit);
  });
});
