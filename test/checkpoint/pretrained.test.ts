// Tests what the names of pretrained models mean, in programs and on the command line.
import { copyFileSync, mkdirSync, readFileSync, rmdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import {
  fullName,
  pretrainedFile,
  pretrainedName,
  pretrainedNames,
  readModelFile,
} from '../../src/checkpoint/pretrained.js';
import { PixelCNN } from '../../src/index.js';
import { testFolder } from '../cli/run-cli.js';
import { testDevice } from '../helpers/models.js';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const device = testDevice();
const home = process.cwd();

describe('in programs', () => {
  afterEach(() => process.chdir(home));

  it.each(pretrainedNames)('%s loads, and says what it is', async (name) => {
    process.chdir(temporaryFolder('empty'));
    for (const source of [name, `pixelcnn:${name}`]) {
      await using model = await PixelCNN.load(device(), source);
      expect(model.config).toMatchObject({ architecture: 'gated', condition: { classes: 10, none: true } });
      expect([model.weights, model.imageSize, model.classNames?.length]).toEqual([
        ['ema'],
        { height: 28, width: 28 },
        10,
      ]);
      expect(model.protocol).toBe(name === 'digits' ? 'threshold' : 'levels');
      expect(model.notes).toEqual([]);
    }
  });

  it('a file or folder of the same name comes first, but not before the full name', async () => {
    const folder = temporaryFolder('own');
    process.chdir(folder);
    expect(await pretrainedName('digits')).toBe('digits');
    await using own = await PixelCNN.create(device(), { levels: 2, hiddenChannels: 4, layers: 2 });
    await own.save('digits');
    mkdirSync('fashion');
    expect(await pretrainedName('digits')).toBeUndefined();
    expect(await pretrainedName('fashion')).toBeUndefined();
    expect(await pretrainedName('pixelcnn:digits')).toBe('digits');
    await using loaded = await PixelCNN.load(device(), 'digits');
    expect(loaded.config.hiddenChannels).toBe(4);
    await using pretrained = await PixelCNN.load(device(), 'pixelcnn:digits');
    expect(pretrained.config.hiddenChannels).toBe(32);
    await expect(PixelCNN.load(device(), 'fashion')).rejects.toMatchObject({
      code: 'ERR_NOT_A_FILE',
      remedy: expect.stringContaining("the pretrained model is 'pixelcnn:fashion'"),
    });
    // Even a file that is called like the full name is not what it means.
    copyFileSync('digits', 'pixelcnn:fashion');
    const { bytes, name } = await readModelFile('pixelcnn:fashion');
    expect(name).toBe('pixelcnn:fashion');
    expect(Buffer.compare(bytes, readFileSync(pretrainedFile('fashion')))).toBe(0);
    expect(Buffer.compare((await readModelFile('./pixelcnn:fashion')).bytes, readFileSync('digits'))).toBe(0);
    expect(await pretrainedName('./digits')).toBeUndefined();
  });

  it('what may be a model of the user does not become the pretrained one: a link to nothing, a link to itself', async () => {
    process.chdir(temporaryFolder('links'));
    symlinkSync('unmounted/run', 'digits');
    symlinkSync('fashion', 'fashion');
    await expect(PixelCNN.load(device(), 'digits')).rejects.toMatchObject({
      code: 'ENOENT',
      remedy: expect.stringContaining("the pretrained model is 'pixelcnn:digits'"),
    });
    await expect(PixelCNN.load(device(), 'fashion')).rejects.toMatchObject({ code: 'ELOOP' });
  });

  it('refuses what it does not know, with what there is', async () => {
    process.chdir(temporaryFolder('unknown'));
    await expect(PixelCNN.load(device(), 'pixelcnn:digit')).rejects.toMatchObject({
      code: 'ERR_NO_MODEL',
      message: "no pretrained model is called 'digit' (did you mean 'digits'?), there are: digits, fashion",
    });
    await expect(PixelCNN.load(device(), 'pixelcnn:')).rejects.toMatchObject({ code: 'ERR_NO_MODEL' });
    await expect(PixelCNN.load(device(), 'fasion')).rejects.toMatchObject({
      code: 'ENOENT',
      remedy: expect.stringContaining("digits, fashion (did you mean 'fashion'?)"),
    });
    await expect(PixelCNN.load(device(), 'Digits')).rejects.toMatchObject({ code: 'ENOENT' });
    await expect(PixelCNN.load(device(), 'runs/none')).rejects.toMatchObject({
      code: 'ENOENT',
      remedy: 'give a model file that exists, or the name of a pretrained model: digits, fashion',
    });
  });

  it('a contradicting expectation names the model', async () => {
    await expect(PixelCNN.load(device(), 'pixelcnn:digits', { levels: 4 })).rejects.toMatchObject({
      code: 'CKPT_CONFIG',
      message: expect.stringContaining('pixelcnn:digits'),
    });
  });
});

describe('on the command line', () => {
  const { run, path } = testFolder();
  const sample = (...args: string[]) => run(['sample', ...args, '--count', '1', '--seed', '1', '--json']);

  it('draws, completes, classifies, evaluates and inspects', async () => {
    const drawn = await sample('digits', '--label', '7');
    expect(JSON.parse(drawn.stdout)).toMatchObject({
      model: 'pixelcnn:digits',
      weights: 'ema',
      classes: [{ label: 7, name: '7' }],
    });
    const named = await sample('fashion', '--label', 'Ankle boot');
    expect(JSON.parse(named.stdout)).toMatchObject({ model: 'pixelcnn:fashion', classes: [{ label: 9 }] });
    const few = ['--data', 'mnist:test', '--limit', '20', '--json'];
    const completed = await run(['complete', 'digits', '--images', 'mnist:test', '--count', '2', '--json']);
    expect(completed).toMatchObject({ code: 0 });
    const classified = JSON.parse((await run(['classify', 'digits', ...few])).stdout);
    expect(classified).toMatchObject({ model: 'pixelcnn:digits', protocol: 'threshold', weights: 'ema' });
    expect(classified.correct).toBeGreaterThan(18);
    const evaluated = JSON.parse((await run(['evaluate', 'digits', ...few])).stdout);
    expect(evaluated).toMatchObject({ model: 'pixelcnn:digits', protocol: 'threshold', given: 'labels' });
    expect(evaluated.nats).toBeLessThan(75);
    const inspected = await run(['inspect', 'digits', '--no-tensors']);
    expect(inspected.stdout).toMatch(/file +pixelcnn:digits, [\d,]+ bytes/);
  });

  it('a folder of the same name comes first, and the output says which it was', async () => {
    mkdirSync(path('fashion'));
    copyFileSync(pretrainedFile('digits'), path('fashion', 'model-ema.safetensors'));
    writeFileSync(path('fashion', 'config.json'), '{}');
    const { stderr, stdout } = await run(['sample', 'fashion', '--count', '1', '--seed', '1']);
    expect(stderr).toContain('model: fashion/model-ema.safetensors, ema weights');
    expect(stdout).toContain('rows: 0, 1');
    const full = await run(['sample', fullName('fashion'), '--count', '1', '--seed', '1']);
    expect(full.stderr).toContain('model: pixelcnn:fashion, ema weights');
    expect(full.stdout).toContain('rows: T-shirt/top');
  });

  it('a folder that is no run hides the model, and the message says so; ./ always means a path', async () => {
    mkdirSync(path('digits'));
    const { code, stderr } = await run(['sample', 'digits']);
    expect(code).toBe(1);
    expect(stderr).toContain('digits is a folder without a model');
    expect(stderr).toContain("the pretrained model is 'pixelcnn:digits'");
    rmdirSync(path('digits'));
    mkdirSync(path('pixelcnn:run'));
    copyFileSync(pretrainedFile('digits'), path('pixelcnn:run', 'model-ema.safetensors'));
    const own = JSON.parse((await sample('./pixelcnn:run', '--label', '1')).stdout);
    expect(own.model).toBe('./pixelcnn:run/model-ema.safetensors');
  });

  it('says what there is instead of a file that is missing', async () => {
    const { code, stderr } = await run(['sample', 'digts']);
    expect(code).toBe(1);
    expect(stderr).toContain('cannot read digts');
    expect(stderr).toContain("a pretrained model: digits, fashion (did you mean 'digits'?)");
    expect((await run(['sample', 'pixelcnn:digts'])).stderr).toContain('ERR_NO_MODEL');
    expect((await run(['sample', '--help'])).stdout).toMatch(/pretrained\s+model:\s+digits,\s+fashion/);
  });
});
