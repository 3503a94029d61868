// Tests rules for the sources as a whole: no import circles, no long files, and first lines that are sentences.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
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
  /** The path that a node of a file imports from, as `import`, `export … from`, `import(…)` or a type does. */
  function importedBy(node: ts.Node): string | undefined {
    let from: ts.Node | undefined;
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) from = node.moduleSpecifier;
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) from = node.argument.literal;
    else if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      from = node.arguments[0];
    return from !== undefined && ts.isStringLiteralLike(from) ? from.text : undefined;
  }

  /** The files that each file imports, types included. */
  function importsOf(texts: Texts): Map<string, string[]> {
    return new Map(
      [...texts].map(([name, text]) => {
        const paths: string[] = [];
        const visit = (node: ts.Node) => {
          const path = importedBy(node);
          if (path?.startsWith('.')) paths.push(normalize(join(dirname(name), path.replace(/\.js$/, '.ts'))));
          ts.forEachChild(node, visit);
        };
        visit(ts.createSourceFile(name, text, ts.ScriptTarget.Latest));
        return [name, paths];
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

  /** Imports of a layer, or of an architecture's file, by a folder that works with any network. */
  function imposedNetworks(texts: Texts): string[] {
    const general = /^src\/(sample|train|checkpoint|cli)\//;
    const layer = /^src\/layers\//;
    const imports = importsOf(texts);
    const ofModels = [...imports].filter(([name]) => /^src\/models\//.test(name));
    // The files of src/models that import layers are those of the architectures.
    const architectures = new Set(
      ofModels.filter(([, paths]) => paths.some((path) => layer.test(path))).map(([name]) => name),
    );
    return [...imports].flatMap(([name, paths]) =>
      paths
        .filter((path) => general.test(name) && (layer.test(path) || architectures.has(path)))
        .map((path) => `${name} imports ${path}`),
    );
  }

  it('of sampler, training, files and commands know no layer and no architecture', () => {
    expect(imposedNetworks(sources)).toEqual([]);
  });

  it.each(['../models/plain.js', '../layers/conv2d.js'])('of %s by the sampler are found', (path) => {
    const name = 'src/sample/draw.ts';
    const planted = new Map([...sources, [name, `import { a } from '${path}';\n${sources.get(name)}`]]);
    expect(imposedNetworks(planted)).toEqual([`${name} imports src${path.slice(2).replace('.js', '.ts')}`]);
  });

  it.each([
    ["import { b } from './b.js';", "import type { A } from '../a.js';"],
    ["import {\n  b,\n} from './b.js';", "export { a } from '../a.js';"],
    ["import type { B } from './b.js';", "export const a = await import('../a.js');"],
    ["type B = import('./b.js').B;", "import '../a.js';"],
    ["/** @internal */ export * from './b.js';", 'const a = await import(`../a.js`);'],
    ["export type * as B from './b.js';", "const quote = /'/;\nconst a = await import(\n  '../a.js'\n);"],
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
      [
        'src/c.ts',
        "// import './a.js' would be a circle\nimport 'node:fs';\nconst text = \"import './a.js'\";",
      ],
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

  /** What is wrong with the sentence that a file begins with; undefined where nothing is found. */
  function faultOf(name: string, text: string): string | undefined {
    const comment = firstComment(name, text);
    if (comment === '') return 'is no comment';
    const sentence = /^[\s\S]*?(?:\.(?=\s|$)|:(?=\n|$))/.exec(comment)?.[0];
    if (sentence === undefined) return 'does not end with a full stop';
    const words = sentence.split(/\s+/);
    if (words.length < 3) return 'has fewer than three words';
    // "Opens devices" begins with a verb, "A device", "Devices, ..." and "Copies of devices" with a noun.
    const isVerb = /^[A-Z][a-z]+s$/.test(words[0]!) && !/^(of|as)$/.test(words[1]!);
    return isVerb ? undefined : 'does not begin with what the file does ("Opens ...", "Tests ...")';
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
    ['// Opens devices.', 'has fewer than three words'],
    ['// opens devices and runs programs on them.', 'does not begin'],
    ['// What was chosen for a convolution is kept on disk.', 'does not begin'],
    ['// Opens devices and runs programs\n//\nexport {};', 'does not end'],
    ['// A GPU: its stream, memory, copies and recorded runs.', 'does not begin'],
    ['// The stream of a GPU, its memory, copies and recorded runs.', 'does not begin'],
    ['// Copies of the sources, which a test may damage.', 'does not begin'],
    ['// Images as they are given to a model, and what is checked.', 'does not begin'],
  ])('planted: %j', (text, fault) => expect(faultOf('a.ts', text)).toContain(fault));

  it.each([
    '// Opens devices and runs programs on them.\nexport {};',
    '// Defines the table of ops:\n// one struct for each.',
    '// Reads from a binary what\n// it needs. More of it follows.',
    '#!/usr/bin/env node\n// Tests that zero clears whatever a tensor held.',
  ])('fine: %j', (text) => expect(faultOf('a.ts', text)).toBeUndefined());

  it('of Python begins with # or is its docstring', () => {
    expect(faultOf('a.py', '# Compares the gradients with those of PyTorch.\n')).toBeUndefined();
    expect(faultOf('a.py', '// Compares the gradients with those of PyTorch.\n')).toBe('is no comment');
    expect(
      faultOf('a.py', '"""Compares the gradients with those\nof PyTorch.\n\nusage: a.py"""\n'),
    ).toBeUndefined();
    expect(faultOf('a.py', '"""The usual network of PyTorch beside ours."""\n')).toContain('does not begin');
  });
});
