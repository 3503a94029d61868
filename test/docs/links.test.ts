// Tests that the links of our documents lead somewhere, and that the files which they name are there.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const listed = spawnSync('git', ['ls-files', '-co', '--exclude-standard', '*.md', ':!docs/api'], {
  cwd: root,
  encoding: 'utf8',
});
const documents = listed.stdout.trim().split('\n');

/** The links of a document that lead nowhere. Links into the web are not followed. */
function deadLinks(document: string, text = readFileSync(join(root, document), 'utf8')): string[] {
  const forms = [
    /\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g,
    /^\[[^\]]+\]:\s*(\S+)/gm,
    /\b(?:href|src)="([^"]+)"/g,
  ];
  const links = forms.flatMap((form) => [...text.matchAll(form)].map((match) => match[1]!));
  return links.filter((link) => {
    if (/^https?:/.test(link)) return false;
    const [path, heading] = link.split('#') as [string, string?];
    const file = path === '' ? document : join(dirname(document), path);
    if (!existsSync(join(root, file))) return true;
    if (heading === undefined) return false;
    return !headingsOf(path === '' ? text : readFileSync(join(root, file), 'utf8')).includes(heading);
  });
}

/** The names that GitHub gives to the headings of a text. */
function headingsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** The files of ours that a document names in backticks and that are not there. `my-op` and the like are examples. */
function missingFiles(document: string, text = readFileSync(join(root, document), 'utf8')): string[] {
  const pattern =
    /`(?:node |python3 )?((?:src|native|cuda|cmake|scripts|test|docs|examples)\/[\w./-]+\.(?:ts|mjs|cc|h|cu|py|md|cmake|json|txt))\b/g;
  const names = [...text.matchAll(pattern)].map((match) => match[1]!);
  return names.filter(
    (name) =>
      !/\/my[-_]/.test(name) &&
      !existsSync(join(root, name)) &&
      !existsSync(join(root, dirname(document), name)),
  );
}

describe('links', () => {
  it.each(documents)('of %s lead somewhere', (document) => expect(deadLinks(document)).toEqual([]));

  it.each([
    ['CONTRIBUTING.md', 'See [there](src/nowhere.ts).', 'src/nowhere.ts'],
    ['docs/levels.md', 'See [there](src/index.ts).', 'src/index.ts'],
    ['docs/levels.md', 'See [there](#nowhere).', '#nowhere'],
    ['CONTRIBUTING.md', 'See [there](docs/levels.md#nowhere).', 'docs/levels.md#nowhere'],
    ['README.md', 'See [there](nowhere.md "A title").', 'nowhere.md'],
    ['README.md', 'See [there][1].\n\n[1]: nowhere.md', 'nowhere.md'],
    ['README.md', '<img src="docs/nowhere.png">', 'docs/nowhere.png'],
  ])('planted in %s: `%s`', (document, text, link) => expect(deadLinks(document, text)).toEqual([link]));

  it.each(['[a](../src/index.ts)', '[a](levels.md#protocols)', '[a](https://example.org/nowhere)'])(
    'fine: `%s`',
    (text) => expect(deadLinks('docs/files.md', text)).toEqual([]),
  );
});

describe('files', () => {
  it('are looked for in every document', () => {
    expect(documents).toEqual(expect.arrayContaining(['README.md', 'cuda/README.md', 'docs/levels.md']));
  });

  it.each(documents)('that %s names are there', (document) => expect(missingFiles(document)).toEqual([]));

  it.each([
    ['Run `node scripts/setup.mjs --tests`.', 'scripts/setup.mjs'],
    ['It is in `src/recorder.ts`.', 'src/recorder.ts'],
  ])('planted: %s', (text, name) => expect(missingFiles('CONTRIBUTING.md', text)).toEqual([name]));

  it.each(['`src/ops/my-op.ts`', '`src/index.ts`', '`npm run docs`', '`runs/mnist/summary.json`'])(
    'fine: %s',
    (text) => expect(missingFiles('CONTRIBUTING.md', text)).toEqual([]),
  );
});
