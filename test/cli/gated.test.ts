// Tests the commands with a gated network: its flags reach the model, and every command takes its files.
import { expect, it } from 'vitest';
import { common, testFolder } from './run-cli.js';

const { run } = testFolder();
const device = ['--device', 'cpu', '--threads', '1'];
const gated = [
  '--architecture',
  'gated',
  '--layers',
  '2',
  '--head-channels',
  '9',
  '--first-kernel-size',
  '5',
];

it('trains, resumes and says what it is', async () => {
  const flags = [...common, ...gated, '--out', 'gated'];
  const trained = await run([...flags, '--steps', '4']);
  expect(trained.code, trained.stderr).toBe(0);
  const inspected = await run(['inspect', 'gated/model.safetensors', '--json']);
  const { config } = JSON.parse(inspected.stdout);
  expect(config).toMatchObject({ architecture: 'gated', layers: 2, headChannels: 9, firstKernelSize: 5 });
  expect((await run(['inspect', 'gated/model.safetensors'])).stdout).toContain(
    'architecture gated, channels 1',
  );

  const resumed = await run(['train', '--resume', '--out', 'gated', '--steps', '6']);
  expect(resumed.code, resumed.stderr).toBe(0);
  const smaller = ['--head-channels', '8', '--resume', '--steps', '8'];
  const other = await run([...flags, ...smaller]);
  expect([other.code, other.stderr]).toEqual([
    1,
    expect.stringMatching(/model with --head-channels 9, this one has 8/),
  ]);

  for (const command of [
    ['sample', 'gated', '--count', '2', '--out', 'drawn.png'],
    [
      'complete',
      'gated',
      '--images',
      'mnist:test',
      '--count',
      '1',
      '--completions',
      '1',
      '--out',
      'completed.png',
    ],
    ['evaluate', 'gated', '--data', 'mnist:test', '--limit', '3'],
  ]) {
    const { code, stderr } = await run([...command, ...device]);
    expect(code, `${command[0]}: ${stderr}`).toBe(0);
  }
});

it('refuses options of gated networks for a plain one, and architectures that it does not know', async () => {
  const plain = await run([...common, '--out', 'plain', '--head-channels', '9']);
  expect(plain.code).toBe(1);
  expect(plain.stderr).toMatch(
    /headChannels is an option of gated networks, and this one is plain\n.*architecture/,
  );
  const unknown = await run([...common, '--out', 'plain', '--architecture', 'snail']);
  expect(unknown.code).toBe(2);
  expect(unknown.stderr).toMatch(/architecture.*plain.*gated.*'?snail/);
});
