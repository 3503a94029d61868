// Tests that the links of our documents to files and headings lead somewhere.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const documents = [
  'ARCHITECTURE.md',
  'CONTRIBUTING.md',
  'README.md',
  'SECURITY.md',
  'cuda/README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** The links of a document that lead nowhere. Links into the web are not followed. */
function deadLinks(document: string, text = readFileSync(join(root, document), 'utf8')): string[] {
  const links = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!);
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

describe('links', () => {
  it.each(documents)('of %s lead somewhere', (document) => expect(deadLinks(document)).toEqual([]));

  it.each([
    ['CONTRIBUTING.md', 'See [there](src/nowhere.ts).', 'src/nowhere.ts'],
    ['docs/levels.md', 'See [there](src/index.ts).', 'src/index.ts'],
    ['docs/levels.md', 'See [there](#nowhere).', '#nowhere'],
    ['CONTRIBUTING.md', 'See [there](docs/levels.md#nowhere).', 'docs/levels.md#nowhere'],
  ])('planted in %s: `%s`', (document, text, link) => expect(deadLinks(document, text)).toEqual([link]));

  it.each(['[a](../src/index.ts)', '[a](levels.md#protocols)', '[a](https://example.org/nowhere)'])(
    'fine: `%s`',
    (text) => expect(deadLinks('docs/files.md', text)).toEqual([]),
  );
});
