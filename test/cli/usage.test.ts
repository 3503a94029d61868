// Tests help, versions, mistakes on the command line, and which source of an option wins.
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { testFolder, tiny } from './run-cli.js';

const { run, path, read } = testFolder();
const commands = [
  'train',
  'sample',
  'complete',
  'evaluate',
  'classify',
  'inspect',
  'doctor',
  'bench',
  'build',
];

describe('help', () => {
  it('lists the commands', async () => {
    const { code, stdout } = await run(['--help']);
    expect(code).toBe(0);
    for (const name of commands) expect(stdout).toContain(`\n  ${name} `);
  });

  it.each(commands)(
    '%s --help lists flags with text, examples and no line beyond 100 columns',
    async (name) => {
      const { code, stdout, stderr } = await run([name, '--help']);
      expect([code, stderr]).toEqual([0, '']);
      expect(stdout).toContain(`pixelcnn ${name}`);
      expect(stdout).toContain('--json');
      expect(stdout).toContain('--config FILE');
      // A flag without a text would end its line.
      expect(stdout).not.toMatch(/^ {2}--\S+( [A-Z]+)?$(?!\n {10})/m);
      for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(100);
    },
  );

  it('has defaults and choices from the schema', async () => {
    const { stdout } = await run(['train', '--help']);
    expect(stdout).toMatch(/--batch-size N +images per step \(default 32\)/);
    expect(stdout).toMatch(/--schedule NAME[\s\S]*constant, cosine, step/);
    expect(stdout).toContain('mnist-demo (');
  });

  it('--version prints the version of package.json', async () => {
    const { stdout } = await run(['--version']);
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('mistakes', () => {
  it.each([
    [['trian'], "unknown command 'trian', did you mean 'train'?"],
    [['train', '--epocs', '3'], "unknown option '--epocs', did you mean '--epochs'?"],
    [['train', '--batchsize=3'], "unknown option '--batchsize', did you mean '--batch-size'?"],
    [['train', '--data'], '--data needs a value'],
    [['train', '--out', '--json'], '--out needs a value'],
    [['train', '--epochs', 'many'], "--epochs must be a number, got 'many'"],
    [['train', '--data', 'mnist', '--batch-size', '0'], '--batch-size'],
    [['train', '--data', 'mnist', '--schedule', 'cosin'], "did you mean 'cosine'?"],
    [['train', '--json=perhaps'], '--json takes no value'],
    [['train', '--preset', 'mnst', '--data', 'x'], "did you mean 'mnist'?"],
    [['train'], 'train needs --data'],
    [['train', 'mnist'], "unexpected argument 'mnist'"],
    [['train', '--resume'], 'nothing to resume'],
  ])('%j is a usage error that says what is wrong', async (args, message) => {
    const { code, stdout, stderr } = await run(args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(`error: `);
    expect(stderr).toContain(message);
    expect(stderr).toMatch(/\n {2}fix: .+\n {2}ERR_USAGE\n$/);
  });

  it('errors of the library end with exit code 1, their remedy and code, and no stack', async () => {
    const { code, stderr } = await run(['train', '--data', 'mnsit']);
    expect(code).toBe(1);
    expect(stderr).toContain("did you mean 'mnist'?");
    expect(stderr).toContain('ERR_DATASET_NOT_FOUND');
    expect(stderr).not.toContain('    at ');
    const debug = await run(['train', '--data', 'mnsit'], { PIXELCNN_DEBUG: '1' });
    expect(debug.stderr).toContain('    at ');
  });

  it('colours only where asked to, when stderr is no terminal', async () => {
    const plain = await run(['trian']);
    expect(plain.stderr).not.toContain('\u001b');
    const coloured = await run(['trian'], { FORCE_COLOR: '1' });
    expect(coloured.stderr).toContain('\u001b[31m');
  });
});

describe('options', () => {
  const data = ['--data', 'mnist', '--limit', '24', '--samples', '0', '--quiet', ...tiny];
  const config = (folder: string) => JSON.parse(read(folder, 'config.json')) as Record<string, unknown>;

  it('flags win over the config file, that over the preset, that over the defaults', async () => {
    writeFileSync(path('config.json'), JSON.stringify({ steps: 2, batchSize: 6, learningRate: 0.5 }));
    const flags = ['--config', 'config.json', '--preset', 'mnist', '--learning-rate=0.25', '--out', 'a'];
    const { code, stderr } = await run(['train', ...flags, ...data, '--no-resume', '--test', 'mnist:test']);
    expect([code, stderr]).toEqual([0, '']);
    expect(config('a')).toMatchObject({ learningRate: 0.25, batchSize: 6, schedule: 'cosine', beta1: 0.9 });
  });

  it('config.json of a run is a config file', async () => {
    const { code, stderr } = await run(['train', '--config', 'a/config.json', '--quiet', '--out', 'b']);
    expect([code, stderr]).toEqual([0, '']);
    expect(config('b')).toEqual(config('a'));
  });

  it('a second run does not go into the folder of the first', async () => {
    const { code, stderr } = await run(['train', ...data, '--steps', '1', '--out', 'a']);
    expect(code).toBe(2);
    expect(stderr).toContain('--resume --out a');
  });

  it.each([
    ['{"batchSise": 3}', "unknown key 'batchSise' in bad.json, did you mean 'batchSize'?"],
    ['[]', 'must hold a JSON object'],
    ['{', 'is not JSON'],
    ['{"batchSize": "3"}', '--batch-size'],
  ])('config file %s is refused', async (text, message) => {
    writeFileSync(path('bad.json'), text);
    const { code, stderr } = await run(['train', '--data', 'mnist', '--config', 'bad.json']);
    expect(code).toBe(2);
    expect(stderr).toContain(message);
  });
});
