// Tests commands on PyTorch files: they print what was found and assumed, and name what is no model.
import { writeFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { encodeSafetensors, type SafetensorsTensor } from '../../src/checkpoint/safetensors.js';
import { testFolder } from './run-cli.js';

const { path, run } = testFolder();
const zeros = (...shape: number[]): SafetensorsTensor => ({
  dtype: 'F32',
  shape,
  data: new Uint8Array(4 * shape.reduce((a, b) => a * b, 1)),
});
/** Numbered 0, 1, 2: `net.2` of this file is the last layer, and the second of one of pixelcnn's. */
const dict = new Map([
  ['module.net.0.weight', zeros(4, 1, 3, 3)],
  ['module.net.0.bias', zeros(4)],
  ['module.net.0.mask', zeros(1, 1, 3, 3)],
  ['module.net.1.weight', zeros(4, 4, 3, 3)],
  ['module.net.1.bias', zeros(4)],
  [
    'module.net.1.mask',
    { ...zeros(1, 1, 3, 3), data: new Uint8Array(Float32Array.of(1, 1, 1, 1, 1, 0, 0, 0, 0).buffer) },
  ],
  ['module.net.2.weight', zeros(2, 4, 1, 1)],
  ['module.net.2.bias', zeros(2)],
] as const);
const write = (name: string, bytes: Uint8Array) => {
  writeFileSync(path(name), bytes);
  return name;
};
const device = ['--device', 'cpu', '--threads', '1'];

it('inspect tells what was found, and which weights of the file are live', async () => {
  const file = write('torch.safetensors', encodeSafetensors(dict, { format: 'pt' }));
  const { code, stdout } = await run(['inspect', file, '--json']);
  expect(code).toBe(0);
  const record = JSON.parse(stdout);
  expect(record.config).toEqual({ channels: 1, hiddenChannels: 4, layers: 3, levels: 2, kernelSize: 3 });
  expect(record.notes[0]).toBe(
    "a PyTorch state dict: 3 layers, 'module.net.0' to 'module.net.2' (prefix 'module.net.')",
  );
  expect(record.notes.join('\n')).toMatch(/stricter mask buffers: .*\(16 of module\.net\.0\.weight\)/);
  const live = Object.fromEntries(
    record.tensors.map((one: { name: string; live: number }) => [one.name, one.live]),
  );
  expect(live).toMatchObject({
    'module.net.0.weight': 4 * 4,
    'module.net.1.weight': 5 * 16,
    'module.net.2.weight': 8,
    'module.net.1.bias': null,
  });
  expect((await run(['inspect', file])).stdout).toMatch(/notes +a PyTorch state dict.*\n +assumed: ReLU/);
});

it('sample and evaluate tell it once on stderr, and not where only results are asked for', async () => {
  const file = write('torch.safetensors', encodeSafetensors(dict, { format: 'pt' }));
  const sample = [
    'sample',
    file,
    ...device,
    '--count',
    '1',
    '--height',
    '4',
    '--width',
    '4',
    '--out',
    'sample.png',
  ];
  const told = await run(sample);
  expect([told.code, told.stderr.match(/a PyTorch state dict/g)?.length]).toEqual([0, 1]);
  expect(told.stderr).toContain('assumed: ReLU');
  const quiet = await run([...sample, '--quiet']);
  expect([quiet.code, quiet.stderr]).toEqual([0, '']);
});

it('a .pt, a pointer and a state dict of another network are named, with what to do', async () => {
  const header = Buffer.concat([
    Buffer.from('PK\x03\x04', 'latin1'),
    Buffer.alloc(26),
    Buffer.from('archive/data.pkl'),
  ]);
  const pt = write('model.pt', header);
  const pointer = write(
    'lfs.safetensors',
    Buffer.from('version https://git-lfs.github.com/spec/v1\noid sha256:0\n'),
  );
  const norm = write(
    'norm.safetensors',
    encodeSafetensors(new Map([...dict, ['module.net.1.running_mean', zeros(4)]])),
  );
  for (const command of [
    ['sample', '--out', 'x.png', '--height', '4', '--width', '4', ...device],
    ['evaluate', '--data', 'mnist', ...device],
    ['inspect'],
  ]) {
    const [name = '', ...rest] = command;
    const torch = await run([name, pt, ...rest]);
    expect(torch.code).toBe(1);
    expect(torch.stderr).toMatch(/model\.pt is a PyTorch file \(\.pt, a zip with a pickle in it\)/);
    expect(torch.stderr).toMatch(
      /fix: .*torch\.load\('model\.pt', map_location='cpu', weights_only=True\).*save_file/,
    );
    expect(torch.stderr).toContain('CKPT_FORMAT');
    expect((await run([name, pointer, ...rest])).stderr).toMatch(/a Git LFS pointer.*\n.*git lfs pull/);
    const other = await run([name, norm, ...rest]);
    expect(other.stdout + other.stderr).toContain('found batch normalisation: module.net.1.running_mean');
  }
});
