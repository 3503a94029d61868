// Tests that the tables of docs/quality.md and models/README.md say what the committed reports say, and that a table cannot
// mix what does not compare.
import { readFileSync, statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { pretrainedFile, pretrainedNames } from '../../src/checkpoint/pretrained.js';
import { presets } from '../../src/index.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const { commandsOf, otherSetting, recipes } = await import(`${root}scripts/quality/recipes.mjs`);
const { readReports, withTables } = await import(`${root}scripts/quality/tables.mjs`);
/** The parts of a report that are read here. */
interface Report {
  readonly test: { readonly nats: number; readonly bitsPerDim: number };
  readonly classification?: { readonly accuracy: number };
  readonly config: object;
  readonly commands: Readonly<Record<string, string>>;
  readonly training: { readonly minutes: number };
  readonly device: { readonly threads: number };
}
const reports: Map<string, Report> = readReports();
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8');
const page = (names: string) => `before\n<!-- quality: ${names} -->\nstale\n<!-- end of quality -->\nafter\n`;

/** The reports, with something else in the test of one of them. */
function changed(name: string, test: object) {
  const report = reports.get(name)!;
  return new Map<string, object>(reports).set(name, { ...report, test: { ...report.test, ...test } });
}

describe('tables', () => {
  it.each(['docs/quality.md', 'models/README.md'])('%s is as the reports make it', (path) => {
    const text = read(path);
    expect(withTables(text, reports)).toEqual({ text, missing: [] });
    // Planted: a number that was edited by hand.
    const edited = text.replace(/\*\*\d+\.\d\d\*\*/, '**11.11**');
    expect(edited).not.toBe(text);
    expect(withTables(edited, reports).text).toBe(text);
  });

  it('a report that changes, changes the page', () => {
    const better = changed('digits', { nats: 12.345 });
    expect(withTables(read('models/README.md'), better).text).toContain('**12.35**');
  });

  it('name data, protocol, weights, network, minutes, machine and commands', () => {
    const { text } = withTables(page('binary-plain'), reports);
    for (const part of [
      'before\n',
      'Trained on 99 % of `mnist:train`',
      'tested on the 10,000 images of `mnist:test`.',
      'Protocol `dynamic`',
      'mean of 5 draws',
      '| ema |',
      'plain, 7 layers, 64 channels, 7×7, 2 levels',
      ' min on ',
      'avx512, f32',
      'npx pixelcnn train --preset mnist-binary --epochs 5 --out runs/binary-plain',
      'npx pixelcnn evaluate runs/binary-plain --data mnist:test --protocol dynamic --draws 5',
      'after\n',
    ])
      expect(text).toContain(part);
    expect(text).not.toContain('stale');
    expect(text).not.toContain('accuracy');
    expect(withTables(page('digits'), reports).text).toContain('each given its class');
  });

  it('refuse to mix protocols or images', () => {
    expect(() => withTables(page('binary-plain digits'), reports)).toThrow('one table mixes');
    expect(() => withTables(page('mnist-8bit fashion-8bit'), reports)).toThrow('one table mixes');
    const fewer = changed('binary-gated', { draws: 1 });
    expect(() => withTables(page('binary-plain binary-gated'), fewer)).toThrow('one table mixes');
  });

  it('stay as they are where a report is missing, which is told', () => {
    const both = page('binary-plain') + page('binary-plain nothing');
    const { text, missing } = withTables(both, reports);
    expect(missing).toEqual(['nothing']);
    expect(text.match(/stale/g)).toHaveLength(1);
  });

  const end = '<!-- end of quality -->';
  it.each([
    ['no table', 'text\n'],
    ['no end', page('digits').replace(end, '')],
    ['no end before the next table', page('digits').replace(end, '') + page('fashion')],
    ['no begin', page('digits') + end],
    ['a begin in capitals', page('Digits') + page('fashion')],
    ['a begin without a space', page('digits').replace('quality: ', 'quality:') + page('fashion')],
    ['an end in capitals', page('digits').replace(end, end.toUpperCase()) + page('fashion')],
    ['other line ends', page('digits').replaceAll('\n', '\r\n')],
  ])('refuse marks that are not in pairs: %s', (_, text) => {
    expect(() => withTables(text, reports)).toThrow('marks');
  });
});

describe('reports', () => {
  it.each(Object.keys(recipes))('%s is of its recipe, evaluated on every test image', (name) => {
    const { config, commands, test } = reports.get(name)!;
    expect(otherSetting(config, recipes[name], presets)).toBeUndefined();
    const expected = Object.entries(commandsOf(recipes[name], `runs/${name}`) as Record<string, string[]>);
    expect(commands).toEqual(
      Object.fromEntries(expected.map(([key, args]) => [key, `npx pixelcnn ${args.join(' ')}`])),
    );
    expect(test).toMatchObject({ images: 10_000, weights: 'ema', protocol: recipes[name].test.protocol });
  });

  it('of another recipe or with another setting are noticed', () => {
    const { config } = reports.get('digits')!;
    const says = (change: object, name = 'digits') =>
      otherSetting({ ...config, ...change }, recipes[name], presets);
    expect(says({}, 'fashion')).toBe('preset is mnist-digits in the run, and fashion-clothes in the recipe');
    expect(says({ steps: 8000 })).toBe('steps is 8000 in the run, and 20000 in the recipe');
    expect(says({ seed: 1 })).toBe('seed is 1 in the run, and 0 in the recipe');
    expect(says({ hiddenChannels: 33 })).toContain('hiddenChannels is 33');
    expect(says({ limit: 100 })).toContain('limit is 100');
    expect(says({ steps: undefined, epochs: 6 })).toContain('steps is undefined');
    expect(says({ samples: 0, device: 'cpu' })).toBeUndefined();
  });

  it('promise what the package needs: digits are told apart, and the files are small', () => {
    expect(reports.get('digits')!.classification!.accuracy).toBeGreaterThanOrEqual(0.97);
    const sizes = pretrainedNames.map((name) => statSync(pretrainedFile(name)).size);
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThanOrEqual(3e6);
  });

  it('are those of the README', () => {
    const text = read('README.md');
    for (const name of ['binary-plain', 'binary-gated'])
      expect(text).toContain(`**${reports.get(name)!.test.nats.toFixed(2)} nats**`);
    for (const name of ['mnist-8bit', 'fashion-8bit'])
      expect(text).toContain(`**${reports.get(name)!.test.bitsPerDim.toFixed(3)} bits/dim**`);
  });

  it('give each pretrained model at most 60 minutes of processor time', () => {
    for (const name of pretrainedNames) {
      const { training, device } = reports.get(name)!;
      expect(training.minutes * device.threads).toBeLessThan(60);
    }
  });
});
