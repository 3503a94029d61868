// Tests classes on the command line: folders of classes are trained, drawn by name, completed, classified and evaluated,
// and what a model cannot be given is refused with both sides.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { classesOf, columnsInTurn } from '../../src/cli/conditions.js';
import { flagsOf, parseFlags } from '../../src/cli/flags.js';
import { decodePng, encodePng } from '../../src/data/png.js';
import { type ImageBatch, PixelCNN, type RasterImage } from '../../src/index.js';
import { z } from '../../src/options.js';
import { testDevice } from '../helpers/models.js';
import { TestRandom } from '../helpers/random.js';
import { jsonLines, testFolder } from './run-cli.js';

const device = testDevice();
const { run, path, read } = testFolder();
/** By code units, so that the class 2 has the number 1. */
const names = ['007', '2', 'shoe'] as const;
const side = 9;
const cpu = ['--device', 'cpu', '--threads', '1'];
const size = ['--levels', '2', '--hidden-channels', '8', '--layers', '3', '--kernel-size', '5'];
const train = ['train', '--data', 'things', ...size, '--batch-size', '10', '--learning-rate', '0.02', ...cpu];

/** The shares of white pixels in the images of each class: the shades. */
const whites = [0.05, 0.5, 0.95] as const;

function picture(shade: number, random: TestRandom): Uint8Array {
  return Uint8Array.from({ length: side * side }, () => (random.int(0, 99) < 100 * whites[shade]! ? 255 : 0));
}

/** The shade of an image in a grid. */
function shadeOf(grid: RasterImage, left: number, top: number, scale: number): number {
  let white = 0;
  for (let y = 0; y < side; y += 1)
    for (let x = 0; x < side; x += 1)
      if (grid.data[(top + y * scale) * grid.width + left + x * scale]! > 127) white += 1;
  return Math.floor((3 * white) / (side * side + 1));
}

/** The shades of the images of a grid, row by row. */
function shadesOf(file: string, scale = 1): number[][] {
  const grid = decodePng(readFileSync(path(file)));
  const pitch = side * scale + 2;
  const places = (length: number) =>
    Array.from({ length: Math.floor((length - 2) / pitch) }, (_, i) => 2 + i * pitch);
  return places(grid.height).map((top) => places(grid.width).map((left) => shadeOf(grid, left, top, scale)));
}

async function json(args: readonly string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await run([...args, ...(args[0] === 'inspect' ? [] : cpu), '--json']);
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Record<string, unknown>;
}

async function refusal(args: readonly string[], expected = 2): Promise<string> {
  const { code, stderr } = await run(args);
  expect([code, stderr]).toEqual([expected, expect.stringContaining('error: ')]);
  return stderr.slice(stderr.indexOf('error: '));
}

beforeAll(async () => {
  const random = new TestRandom(1);
  const write = (folder: string, shade: number, i: number) => {
    mkdirSync(path(folder), { recursive: true });
    const image = { data: picture(shade, random), width: side, height: side, channels: 1 };
    writeFileSync(path(folder, `${shade}-${i}.png`), encodePng(image));
  };
  for (const [shade, name] of names.entries()) {
    for (let i = 0; i < 40; i += 1) write(`things/${name}`, shade, i);
    for (let i = 0; i < 5; i += 1) {
      write('unlabelled', shade, i);
      write(`swapped/${names[(shade + 1) % 3]}`, shade, i);
      write(`other/x${name}`, shade, i);
    }
  }
  const length = ['--epochs', '12', '--samples', '12', '--classes', 'auto', '--condition-dropout', '0.2'];
  const { code, stderr } = await run([...train, ...length, '--test', 'swapped', '--out', 'run']);
  expect([code, stderr]).toEqual([0, expect.stringMatching(/given 3 classes or nothing\n/)]);
  expect(stderr).toMatch(/test .* weights, given labels\n/);
}, 60_000);

describe('flags of arrays', () => {
  const flags = flagsOf(
    z.strictObject({ label: z.array(z.string()), sizes: z.array(z.int()).optional(), one: z.string() }),
  );
  it('collect what is repeated, in order, and texts stay texts', () => {
    const args = ['--label', '007', '--sizes=3', '--label=7', '--sizes', '4', '--one', 'a', '--one', 'b'];
    const { values } = parseFlags('test', flags, args, undefined);
    expect(values).toEqual({ label: ['007', '7'], sizes: [3, 4], one: 'b' });
  });
  it('check every value', () => {
    expect(() => parseFlags('test', flags, ['--sizes', '3', '--sizes', 'x'], undefined)).toThrow(
      "--sizes must be a number, got 'x'",
    );
  });
});

describe('train --classes', () => {
  it('keeps the number of classes, their names and the protocol', async () => {
    expect(JSON.parse(read('run', 'config.json'))).toMatchObject({ classes: 3, conditionDropout: 0.2 });
    const found = await json(['inspect', 'run']);
    expect(found).toMatchObject({ classNames: names, protocol: 'levels' });
    expect(found).toMatchObject({ config: { condition: { classes: 3, none: true } } });
    const { stdout } = await run(['inspect', 'run']);
    expect(stdout).toMatch(/\ncondition +3 classes or nothing\nclasses +007, 2, shoe\n/);
    expect(stdout).toMatch(/\nprotocol +levels\n/);
  });

  it('shows one class in each column of the samples', () => {
    const rows = shadesOf('run/samples/epoch-012.png', 2);
    expect(rows).toEqual(Array(4).fill([0, 1, 2]));
  });

  it('evaluates the test images given their labels, class by class', () => {
    const { test } = JSON.parse(read('run', 'summary.json')) as { test: Record<string, unknown> };
    expect(test).toMatchObject({ given: 'labels', perClass: names.map((name) => ({ name, images: 5 })) });
  });

  it('resumes with the same condition, and refuses another', async () => {
    const more = ['train', '--resume', '--out', 'run', '--steps', '146'];
    const { code, stderr } = await run(more);
    expect([code, stderr]).toEqual([0, expect.stringMatching(/resumed at step 144/)]);
    const other = await run([...more, '--classes', '4', '--steps', '148']);
    expect([other.code, other.stderr]).toEqual([
      1,
      expect.stringMatching(/3 classes or nothing.*4 classes or nothing/),
    ]);
  });

  it('takes the classes of a preset, more of them, or none', async () => {
    const preset = [
      'train',
      '--preset',
      'mnist-digits',
      '--limit',
      '20',
      '--steps',
      '1',
      '--no-test',
      ...cpu,
    ];
    const small = ['--hidden-channels', '2', '--layers', '2', '--samples', '0', '--json'];
    const modelOf = async (out: string, flags: readonly string[]) => {
      const { code, stdout, stderr } = await run([...preset, ...small, '--out', out, ...flags]);
      expect([code, stderr]).toEqual([0, '']);
      return jsonLines(stdout)[0] as unknown as { model: { condition?: object } };
    };
    expect((await modelOf('ten', [])).model.condition).toEqual({ classes: 10, none: true });
    expect((await json(['inspect', 'ten'])).classNames).toEqual([...'0123456789']);
    expect((await modelOf('twelve', ['--classes', '12'])).model.condition).toEqual({
      classes: 12,
      none: true,
    });
    expect((await modelOf('without', ['--no-classes'])).model.condition).toBeUndefined();
    const resumed = await run(['train', '--resume', '--out', 'without', '--steps', '2']);
    expect([resumed.code, resumed.stderr]).toEqual([0, expect.stringContaining('resumed at step 1')]);
  });

  it.each([
    [
      ['--data', 'unlabelled', '--classes', 'auto'],
      /--classes auto: the images of unlabelled have no labels\n {2}fix: .*folder/,
    ],
    [['--classes', '2'], /--classes 2: the images of things have 3 classes\n {2}fix: .*auto, or 3/],
    [['--classes', 'all'], /--classes: expected auto, or a number of classes, got 'all'/],
    [['--condition-dropout', '0.1'], /--condition-dropout 0.1 needs --classes\n {2}fix: .*--classes auto/],
    [
      ['--classes', 'auto', '--validation', 'unlabelled'],
      /given 3 classes, and the images of --validation unlabelled have no labels/,
    ],
    [
      ['--classes', 'auto', '--test', 'unlabelled'],
      /given 3 classes, and the images of --test unlabelled have no labels/,
    ],
  ])('refuses %j', async (flags, message) => {
    expect(await refusal([...train, '--steps', '1', '--out', 'refused', ...flags])).toMatch(message);
    expect(readdirSync(path())).not.toContain('refused');
  });

  it('refuses test images of a class that the training images do not have', async () => {
    const flags = ['--steps', '1', '--out', 'refused', '--classes', 'auto', '--test', 'other'];
    expect(await refusal([...train, ...flags], 1)).toMatch(/images are of the class 'x007'.*'007'/);
  });
});

describe('classesOf and columnsInTurn', () => {
  const batch = (more: Partial<ImageBatch>): ImageBatch => {
    return { data: new Uint8Array(3), count: 3, height: 1, width: 1, channels: 1, ...more };
  };
  it('count names, or else labels from 0 to the largest', () => {
    expect(classesOf('auto', 'x', batch({ labels: Uint8Array.of(4, 0, 4) }))).toBe(5);
    const classNames = ['a', 'b', 'c', 'd', 'e', 'f'];
    expect(classesOf('auto', 'x', batch({ labels: Uint8Array.of(4, 0, 4), classNames }))).toBe(6);
    expect(classesOf(9, 'x', batch({ labels: Uint8Array.of(4, 0, 4) }))).toBe(9);
    expect(() => classesOf(4, 'x', batch({ labels: Uint8Array.of(4, 0, 4) }))).toThrow(/have 5 classes/);
  });
  it('keep every column to one class', () => {
    for (const [classes, count, columns] of [
      [10, 64, 10],
      [3, 64, 6],
      [1, 64, 8],
      [64, 64, 64],
      [65, 64, undefined],
    ] as const)
      expect(columnsInTurn(classes, count)).toBe(columns);
  });
});

describe('sample', () => {
  const drawn = ['sample', 'run', '--seed', '5', '--scale', '1'];

  it('draws a row for every class', async () => {
    const result = await json([...drawn, '--out', 'all.png']);
    expect(result).toMatchObject({ count: 24, countPerClass: 8, guidance: 1 });
    expect(result.classes).toEqual(names.map((name, label) => ({ label, name })));
    const rows = shadesOf('all.png');
    expect(rows.map((row) => row.length)).toEqual([8, 8, 8]);
    for (const [shade, row] of rows.entries()) expect(row).toEqual(Array(8).fill(shade));
  });

  it('takes a name before a number, and draws in the order of the flags', async () => {
    const flags = ['--label', 'shoe', '--label', '2', '--label', '0', '--label', '007', '--count', '6'];
    const result = await json([...drawn, ...flags, '--out', 'some.png']);
    expect((result.classes as { label: number }[]).map(({ label }) => label)).toEqual([2, 1, 0, 0]);
    const rows = shadesOf('some.png');
    expect(rows).toEqual([2, 1, 0, 0].map((shade) => Array(6).fill(shade)));
    const { stdout } = await run([...drawn, ...flags, '--out', 'some.png']);
    expect(stdout).toMatch(
      /^some\.png: 24 images of 9x9, 6 of each class, seed 5.*\nrows: shoe, 2, 007, 007\n$/,
    );
  });

  it('gives each image the class in the name of its file, also beyond 64 images', async () => {
    await json([...drawn, '--count', '30', '--separate', 'each', '--guidance', '1.5', '--out', 'each.png']);
    const files = readdirSync(path('each')).sort();
    expect(files).toEqual(
      Array.from({ length: 90 }, (_, i) => `${String(i).padStart(5, '0')}-${names[Math.floor(i / 30)]}.png`),
    );
    await using model = await PixelCNN.load(device(), path('run', 'model.safetensors'));
    const labels = files.map((_, i) => Math.floor(i / 30));
    const { data } = await model.sample({ labels, seed: 5, guidance: 1.5 });
    const shown = files.flatMap((file) => [...decodePng(readFileSync(path('each', file))).data]);
    expect(shown).toEqual([...data]);
    // A planted failure: the order of the classes matters.
    const reversed = await model.sample({ labels: labels.reverse(), seed: 5, guidance: 1.5 });
    expect(shown).not.toEqual([...reversed.data]);
  });

  it('draws without a class by --guidance 0 or --label none', async () => {
    const zero = await json([...drawn, '--guidance', '0', '--count', '7', '--separate', 'zero']);
    expect(zero).toMatchObject({ count: 7, classes: null, countPerClass: null, guidance: 0 });
    expect(readdirSync(path('zero'))[0]).toBe('00000.png');
    const none = await json([...drawn, '--label', 'none', '--count', '7', '--separate', 'none']);
    expect(none).toMatchObject({ count: 7, classes: null });
    for (const file of readdirSync(path('zero')))
      expect(readFileSync(path('none', file)).equals(readFileSync(path('zero', file)))).toBe(true);
  });

  it.each([
    [['--label', '3'], /--label: the classes of the model are 0 to 2 \('007', '2', 'shoe'\), got '3'/],
    [
      ['--label', 'sheo'],
      /--label: .* no class 'sheo' \(did you mean 'shoe'\?\); its classes are '007', '2', 'shoe'/,
    ],
    [['--label', '2', '--label', 'none'], /--label none stands for no class and cannot stand with others/],
    [['--label', '2', '--guidance', '0'], /--guidance 0 draws without a class, and --label 2 asks for one/],
    [['--label'], /--label needs a value/],
    [['--guidance', '-1'], /--guidance: .*got -1/],
  ])('refuses %j', async (flags, message) => {
    const text = await refusal([...drawn, ...flags, '--out', 'refused.png']);
    expect(text).toMatch(message);
    expect(text).toMatch(/\n {2}fix: .+\n {2}ERR_USAGE\n$/);
  });
});

describe('complete', () => {
  const known = [
    'complete',
    'run',
    '--images',
    'things',
    '--fraction',
    '0',
    '--completions',
    '6',
    '--scale',
    '1',
  ];
  it('takes the classes of the images, or those of --label', async () => {
    const own = await json([...known, '--count', '2', '--out', 'own.png']);
    expect(own.classes).toEqual([names[0], names[0]].map((name) => ({ label: 0, name })));
    expect(shadesOf('own.png').map((row) => row.slice(2))).toEqual(Array(2).fill(Array(6).fill(0)));
    await json([...known, '--count', '2', '--label', '2', '--label', 'shoe', '--out', 'each.png']);
    const drawn = shadesOf('each.png').map((row) => row.slice(2));
    expect(drawn).toEqual([1, 2].map((shade) => Array(6).fill(shade)));
    const all = await json([...known, '--count', '3', '--label', 'shoe', '--guidance', '2']);
    expect(all).toMatchObject({ guidance: 2, classes: [{ label: 2 }, { label: 2 }, { label: 2 }] });
  });

  it('needs no classes with --guidance 0 or --label none, and else asks for them', async () => {
    const unlabelled = ['complete', 'run', '--images', 'unlabelled', '--count', '2', '--seed', '1'];
    await json([...unlabelled, '--guidance', '0', '--out', 'zero.png']);
    await json([...unlabelled, '--label', 'none', '--out', 'none.png']);
    expect(readFileSync(path('none.png')).equals(readFileSync(path('zero.png')))).toBe(true);
    expect(await refusal(unlabelled)).toMatch(
      /images of unlabelled have no labels\n {2}fix: say with --label/,
    );
    expect(await refusal([...known, '--count', '3', '--label', '2', '--label', '2'])).toMatch(
      /--label is given for 2 images, and there are 3/,
    );
    expect(await refusal([...known, '--label', 'sheo'])).toContain("did you mean 'shoe'?");
  });
});

describe('classify', () => {
  const classify = (data: string) => ['classify', 'run', '--data', data];

  it('finds the classes of images, and how many of them are right', async () => {
    const result = await json(classify('things'));
    expect(result).toMatchObject({ images: 120, protocol: 'levels', weights: 'raw' });
    expect(result.accuracy).toBeGreaterThanOrEqual(0.95);
    const { labels, perClass, correct } = result as {
      labels: number[];
      perClass: { images: number; correct: number; found: number }[];
      correct: number;
    };
    expect(labels).toHaveLength(120);
    expect(correct).toBe(labels.filter((label, i) => label === Math.floor(i / 40)).length);
    expect(perClass.map(({ images }) => images)).toEqual([40, 40, 40]);
    for (const [label, one] of perClass.entries())
      expect(one.found).toBe(labels.filter((found) => found === label).length);
    const { stdout } = await run([...classify('things'), ...cpu]);
    expect(stdout).toMatch(/^accuracy +\d+\.\d\d % +\d+ right\nimages +120 /);
    expect(stdout).toMatch(
      /\n\nclass +images +right +accuracy +found\n007 +40 [\s\S]*\n2 +40 [\s\S]*\nshoe +40 /,
    );
  });

  it('counts images under a wrong label as wrong', async () => {
    const { accuracy, labels } = await json(classify('swapped'));
    expect(accuracy).toBeLessThanOrEqual(0.1);
    // The images lie in the folder of the class after theirs: those of shoe come first.
    expect(
      (labels as number[]).filter((label, i) => label === [2, 0, 1][Math.floor(i / 5)]).length,
    ).toBeGreaterThan(13);
  });

  it('counts only what it found in images without labels, or with labels of other classes', async () => {
    const { accuracy, correct, perClass } = await json(classify('unlabelled'));
    expect([accuracy, correct]).toEqual([null, null]);
    const found = (perClass as { found: number; images: null }[]).map((one) => one.found);
    expect(found.reduce((sum, one) => sum + one)).toBe(15);
    const { code, stdout, stderr } = await run([...classify('other'), ...cpu]);
    expect([code, stdout]).toEqual([0, expect.stringMatching(/\n\nclass +found\n007 +\d\n/)]);
    expect(stderr).toMatch(/other: \d+ images of the class 'x007', which the model lacks, count neither/);
  });
});

describe('evaluate', () => {
  it('says what is given, and lists the classes', async () => {
    const { stdout } = await run(['evaluate', 'run', '--data', 'things', ...cpu]);
    expect(stdout).toMatch(
      /\ngiven +labels\n\nclass +images +nats +bits\/dim\n007 +40 +\d+\.\d{4} +\d\.\d{5}\n2 /,
    );
    const right = await json(['evaluate', 'run', '--data', 'things']);
    const { perClass, nats } = right as { perClass: { nats: number; images: number }[]; nats: number };
    expect(right).toMatchObject({ given: 'labels', perClass: names.map((name) => ({ name, images: 40 })) });
    const mean = perClass.reduce((sum, one) => sum + one.nats * one.images, 0) / 120;
    expect(mean).toBeCloseTo(nats, 6);
    const wrong = await json(['evaluate', 'run', '--data', 'swapped']);
    expect(wrong.nats).toBeGreaterThan(2 * nats);
    expect(await refusal(['evaluate', 'run', '--data', 'unlabelled'])).toMatch(
      /evaluate: the model is given 3 classes or nothing, and the images of unlabelled have no labels\n {2}fix: .*folder/,
    );
  });
});

describe('other models', () => {
  const config = { hiddenChannels: 4, layers: 2, levels: 2, kernelSize: 3 } as const;
  const size = ['--height', '4', '--width', '4'];
  beforeAll(async () => {
    for (const [name, condition] of [
      ['plain', undefined],
      ['features', { features: 3 }],
      ['map', { map: 2, none: true }],
      ['many', { classes: 65 }],
    ] as const) {
      await using model = await PixelCNN.create(device(), { ...config, ...(condition && { condition }) });
      await model.save(path(`${name}.safetensors`));
    }
  });

  it.each([
    ['plain', ['--label', '1'], /--label 1 is for a model of classes, the model has no condition/],
    ['plain', ['--guidance', '2'], /--guidance 2 needs .*, the model has no condition/],
    [
      'features',
      [],
      /the model is given 3 features, which the command line cannot give\n {2}fix: call model\.sample\(\{ features \}\) in a program\n/,
    ],
    ['features', ['--guidance', '0'], /--guidance 0 needs .*, the model is given 3 features/],
    [
      'map',
      [],
      /given a map of 2 channels or nothing, which .*cannot give\n {2}fix: call model\.sample\(\{ map \}\) in a program, or .*--guidance 0/,
    ],
    ['many', [], /the model has 65 classes, and the grid has a row for each, 64 at most\n {2}fix: .*--label/],
    [
      'many',
      ['--label', 'none'],
      /--label none needs a model that has learnt .*is given 65 classes\n {2}fix: train/,
    ],
    ['many', ['--label', 'cat'], /does not know the names of its 65 classes, got 'cat'/],
  ])('sample %s %j is refused', async (name, flags, message) => {
    const text = await refusal(['sample', `${name}.safetensors`, ...size, ...flags, '--out', 'refused.png']);
    expect(text).toMatch(message);
  });

  it('are drawn where nothing is to be given', async () => {
    const draw = (name: string, flags: readonly string[]) =>
      json(['sample', `${name}.safetensors`, ...size, '--out', 'drawn.png', ...flags]);
    expect(await draw('plain', [])).toMatchObject({ count: 64, classes: null });
    expect(await draw('map', ['--guidance', '0'])).toMatchObject({ count: 64, guidance: 0 });
    const [label, name] = [64, null];
    expect(await draw('many', ['--label', '64'])).toMatchObject({ count: 8, classes: [{ label, name }] });
  });

  it('are refused by classify, evaluate and complete with what they are given', async () => {
    const images = ['--data', 'things'];
    expect(await refusal(['classify', 'plain.safetensors', ...images])).toMatch(
      /classify: the model must have classes, the model has no condition\n {2}fix: .*--classes/,
    );
    expect(await refusal(['classify', 'map.safetensors', ...images])).toMatch(
      /given a map of 2 channels or nothing/,
    );
    expect(await refusal(['evaluate', 'features.safetensors', ...images])).toMatch(
      /given 3 features, and the images of things have no features\n {2}fix: .*in a program/,
    );
    expect(await refusal(['complete', 'features.safetensors', '--images', 'things'])).toMatch(
      /given 3 features, which the command line cannot give\n {2}fix: call model\.complete/,
    );
    expect((await run(['evaluate', 'plain.safetensors', ...images, ...cpu])).stdout).not.toContain('given');
  });
});
