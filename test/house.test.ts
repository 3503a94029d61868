// Tests rules for the sources as a whole: no import circles, no long files, and first lines that are sentences.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Files by name, with their texts. */
type Texts = ReadonlyMap<string, string>;

function textsOf(folders: readonly string[], extensions: RegExp): Texts {
  const listed = spawnSync('git', ['ls-files', '-co', '--exclude-standard', ...folders], {
    cwd: root,
    encoding: 'utf8',
  });
  const names = listed.stdout.split('\n').filter((name) => extensions.test(name));
  return new Map(names.map((name) => [name, readFileSync(join(root, name), 'utf8')]));
}

describe('imports', () => {
  /** The files that each file imports, types included. */
  function importsOf(texts: Texts): Map<string, string[]> {
    const pattern = /(?:\bfrom|\bimport\(?)\s*'(\.[^']*)\.js'/g;
    return new Map(
      [...texts].map(([name, text]) => {
        const code = text.replace(/^\s*(\/\/|\/?\*).*$/gm, '');
        const paths = [...code.matchAll(pattern)].map((match) => `${match[1]}.ts`);
        return [name, paths.map((path) => normalize(join(dirname(name), path)))];
      }),
    );
  }

  /** Every import that leads back to the file it is in, as the shortest way there: `a.ts -> b.ts -> a.ts`. */
  function circlesOf(texts: Texts): string[] {
    const imports = importsOf(texts);
    const circles = new Map<string, string>();
    for (const start of imports.keys()) {
      const ways = [[start]];
      const seen = new Set<string>();
      for (const way of ways) {
        for (const next of imports.get(way.at(-1)!) ?? []) {
          if (next === start) {
            const key = way.toSorted().join();
            if (!circles.has(key)) circles.set(key, [...way, start].join(' -> '));
          } else if (!seen.has(next)) {
            seen.add(next);
            ways.push([...way, next]);
          }
        }
      }
    }
    return [...circles.values()];
  }

  const sources = textsOf(['src'], /\.ts$/);

  it('lead to files that are there', () => {
    expect(sources.size).toBeGreaterThan(100);
    const missing = [...importsOf(sources)].flatMap(([name, paths]) =>
      paths.filter((path) => !sources.has(path)).map((path) => `${name} imports ${path}`),
    );
    expect(missing).toEqual([]);
  });

  it('make no circle', () => expect(circlesOf(sources)).toEqual([]));

  it.each([
    ["import { b } from './b.js';", "import type { A } from '../a.js';"],
    ["import {\n  b,\n} from './b.js';", "export { a } from '../a.js';"],
    ["import type { B } from './b.js';", "export const a = await import('../a.js');"],
    ["type B = import('./b.js').B;", "import '../a.js';"],
  ])('planted: two files that import each other by %j and %j', (a, b) => {
    const texts = new Map([
      ['src/a.ts', a.replace('./b.js', './x/b.js')],
      ['src/x/b.ts', b],
      ['src/c.ts', "import { a } from './a.js';"],
    ]);
    expect(circlesOf(texts)).toEqual(['src/a.ts -> src/x/b.ts -> src/a.ts']);
  });

  it('planted: a circle of three files, and one file that imports itself', () => {
    const texts = new Map([
      ['src/a.ts', "import './b.js';"],
      ['src/b.ts', "import './c.js';\nimport './d.js';"],
      ['src/c.ts', "import './a.js';"],
      ['src/d.ts', "import './d.js';"],
    ]);
    expect(circlesOf(texts)).toEqual([
      'src/a.ts -> src/b.ts -> src/c.ts -> src/a.ts',
      'src/d.ts -> src/d.ts',
    ]);
  });

  it('fine: two ways to one file', () => {
    const texts = new Map([
      ['src/a.ts', "import './b.js';\nimport './c.js';"],
      ['src/b.ts', "import './c.js';"],
      ['src/c.ts', "// import './a.js' would be a circle\nimport 'node:fs';"],
    ]);
    expect(circlesOf(texts)).toEqual([]);
  });
});

describe('the length of files', () => {
  const longest = 300;

  function longFiles(texts: Texts): string[] {
    return [...texts]
      .map(([name, text]) => ({ name, lines: text.split('\n').length - (text.endsWith('\n') ? 1 : 0) }))
      .filter(({ lines }) => lines > longest)
      .map(({ name, lines }) => `${name} has ${lines} lines`);
  }

  it('is at most 300 lines in src', () => expect(longFiles(textsOf(['src'], /\.ts$/))).toEqual([]));

  it('planted: 301 lines', () => {
    const lines = (count: number) => '// A line.\n'.repeat(count);
    const texts = new Map([
      ['src/short.ts', lines(300)],
      ['src/long.ts', lines(301)],
      ['src/unfinished.ts', `${lines(300)}// A line.`],
    ]);
    expect(longFiles(texts)).toEqual(['src/long.ts has 301 lines', 'src/unfinished.ts has 301 lines']);
  });
});

describe('the first line of a file', () => {
  /** The lines of the comment that a file begins with, after a line for the shell. */
  function firstComment(name: string, text: string): string {
    const start = text.replace(/^#!.*\n/, '');
    const python = name.endsWith('.py');
    const document = python ? /^"""([\s\S]*?)"""/.exec(start)?.[1] : undefined;
    if (document !== undefined) return document.trim();
    const lines = start.split('\n');
    const mark = python ? '#' : '//';
    const end = lines.findIndex((line) => !line.startsWith(mark));
    return lines
      .slice(0, end < 0 ? lines.length : end)
      .map((line) => line.slice(mark.length).trim())
      .join('\n');
  }

  /**
   * Verbs of first lines, in the form that they have there. Add a verb that is missing. One that is a noun too, like "runs",
   * is in the second list: it counts only as the first word of a sentence, and not before "of" or the like.
   */
  const verbs =
    'accepts adds admits advances agree allows appends applies are asks assigns awaits becomes begins belongs ' +
    'binds builds caches can chooses clamps clips clones closes combines come comes compares compiles ' +
    'computes connects contains converts crops cuts decides decodes defines deletes delivers derives ' +
    'describes detects discards disposes divides do does draws emits encodes ends enqueues ensures enters enumerates ' +
    'estimates executes explains exposes extracts fails finds flattens follows frees fuzzes gets give gives ' +
    'goes guesses happens has have hides holds ignores include includes initialises inserts inspects ' +
    'interprets invokes is iterates joins keep keeps know knows leads learns lets looks maintains make makes ' +
    'may means measures merges moves multiplies must needs notifies observes offers opens owns packs pads ' +
    'parses pass passes pauses performs picks predicts prefers prepares prevents prints processes produces ' +
    'protects provides publishes pushes raises reaches reads rebuilds recognises reduces refuse refuses ' +
    'rejects relates releases remembers removes renders reorders replays requires reserves resets restores ' +
    'retries reuses reverses rewrites say says scans sees separates serialises settles shortens skips sorts ' +
    'spawns specifies stays stores suffices summarises suspends switches take takes trains transforms ' +
    'translates transposes traverses tries trims turns undoes unlocks uses warns works writes zeroes';
  const nounsToo =
    'allocates answers blocks bounds buffers calls captures checks clears collects controls copies counts ' +
    'covers creates damages declares dispatches downloads drives drops emulates evaluates exports feeds ' +
    'fetches fills filters fits formats forwards generates guards handles hashes imitates implements imports ' +
    'installs kills labels launches lays leases leaves lends limits lines links lists lives loads locks logs ' +
    'loops maps marks masks matches mutates names normalises notes numbers orders pairs places plans plants ' +
    'points promises quantises ranks receives recomputes records registers renews repeats replaces reports ' +
    'requests resizes resolves returns rounds runs samples saves scales schedules searches selects sends ' +
    'serves sets shares shows shuffles signals simulates spans splits spreads stacks stands starts steers ' +
    'steps stops submits sums supports tags tells tests times traces tracks unpacks updates validates ' +
    'verifies waits walks watches wraps';

  /** What is wrong with the sentence that a file begins with; undefined where nothing is found. */
  function faultOf(name: string, text: string): string | undefined {
    const comment = firstComment(name, text);
    if (comment === '') return 'is no comment';
    const sentence = /^[\s\S]*?(?:\.(?=\s|$)|:(?=\n|$))/.exec(comment)?.[0];
    if (sentence === undefined) return 'does not end with a full stop';
    const words = sentence.split(/\s+/);
    if (words.length < 4) return 'has fewer than four words';
    // A name of a file, a function or a program may begin a sentence as it is written.
    if (!/^([A-Z\d'"`]|[\w-]*[./_A-Z(])/.test(words[0]!)) return 'begins with a small letter';
    if (/^(What|How|Which|Whether|Why|Whoever|Whatever)$/.test(words[0]!))
      return 'is a clause, not a sentence';
    // What stands behind a relative word or a comma belongs to a clause.
    const main = sentence.split(
      /[:,]\s|\s(?:that|which|who|whose|what|how|whether|where|when|while|if|as|for)\s/,
    )[0]!;
    const [first, ...others] = main
      .toLowerCase()
      .replace(/[.,:]$/, '')
      .split(/\s+/);
    const known = new Set(verbs.split(' '));
    const joins = /^(of|on|and|from|with|in|as|to|by|at|for)$/.test(others[0] ?? '');
    if (known.has(first!) || (nounsToo.split(' ').includes(first!) && !joins)) return undefined;
    return others.some((word) => known.has(word)) ? undefined : 'has no verb that this test knows';
  }

  function faultsOf(texts: Texts): string[] {
    return [...texts].flatMap(([name, text]) => {
      const fault = faultOf(name, text);
      return fault === undefined
        ? []
        : [`${name} ${fault}: ${firstComment(name, text).slice(0, 120).replaceAll('\n', ' ')}`];
    });
  }

  /** Copies of files of ../shared/oracle, byte for byte (test/golden/copies.test.ts). */
  const copies = ['gated.py', 'gated_check.py', 'make_oracle.py'].map((name) => `:!test/golden/${name}`);

  it.each(['src', 'native', 'cuda', 'scripts', 'test'])('is a sentence in %s', (folder) => {
    const texts = textsOf([folder, ...copies], /\.(ts|mts|mjs|cc|h|cu|py)$/);
    expect(texts.size).toBeGreaterThan(10);
    expect(faultsOf(texts)).toEqual([]);
  });

  it.each([
    ['export {};', 'is no comment'],
    ['', 'is no comment'],
    ['//', 'is no comment'],
    ['\n// Opens devices and runs programs on them.', 'is no comment'],
    ['// Opens devices and runs programs on them\nexport {};', 'does not end'],
    ['// Opens devices.', 'has fewer than four words'],
    ['// opens devices and runs programs on them.', 'begins with a small letter'],
    ['// What was chosen for a convolution is kept on disk.', 'is a clause'],
    ['// Opens devices and runs programs\n//\nexport {};', 'does not end'],
    ['// A GPU: its stream, memory, copies and recorded runs.', 'has no verb'],
    ['// The stream of a GPU, its memory, copies and recorded runs.', 'has no verb'],
    ['// The filter of a layer that is recorded forward and backward.', 'has no verb'],
    ['// The names of the records, and the calls that share them.', 'has no verb'],
    ['// Copies of the sources, which a test may damage.', 'has no verb'],
    ['// Images as they are given to a model, and what is checked.', 'has no verb'],
  ])('planted: %j', (text, fault) => expect(faultOf('a.ts', text)).toContain(fault));

  it.each([
    '// Opens devices and runs programs on them.\nexport {};',
    '// This file defines the table of ops:\n// one struct for each.',
    '// A program is a list of ops that was checked\n// once. It owns no data.',
    '// native/ops.h describes each op once.',
    '#!/usr/bin/env node\n// Tests that zero clears whatever a tensor held.',
    '// PyTorch computes the same gradients as our own kernels do here: they must agree.',
  ])('fine: %j', (text) => expect(faultOf('a.ts', text)).toBeUndefined());

  it('of Python begins with # or is its docstring', () => {
    expect(faultOf('a.py', '# Compares the gradients with those of PyTorch.\n')).toBeUndefined();
    expect(faultOf('a.py', '// Compares the gradients with those of PyTorch.\n')).toBe('is no comment');
    expect(
      faultOf('a.py', '"""Compares the gradients with those\nof PyTorch.\n\nusage: a.py"""\n'),
    ).toBeUndefined();
    expect(faultOf('a.py', '"""The usual network of PyTorch beside ours."""\n')).toContain('has no verb');
  });
});
