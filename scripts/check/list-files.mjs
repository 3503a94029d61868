// Renews the list in docs/files.md of every source file and the first sentence of its first comment. With --check it
// only compares and fails where the list is stale.
import { readFileSync, writeFileSync } from 'node:fs';
import { fail, outputOf, root } from '../steps.mjs';

const begin = '<!-- files: made by scripts/check/list-files.mjs -->';
const end = '<!-- end of files -->';

const path = `${root}docs/files.md`;
const text = readFileSync(path, 'utf8');
const start = text.indexOf(begin);
const stop = text.indexOf(end);
if (start < 0 || stop < start) fail(`docs/files.md lacks '${begin}' … '${end}'`);
const updated = `${text.slice(0, start + begin.length)}\n${list()}${text.slice(stop)}`;
if (!process.argv.includes('--check')) writeFileSync(path, updated);
else if (updated !== text)
  fail('docs/files.md does not list the source files as they are. Run `npm run format`.');

function list() {
  const files = outputOf('git', ['ls-files', '-co', '--exclude-standard', 'native', 'cuda', 'src', 'scripts'])
    .split('\n')
    .filter((file) => /\.(cc|h|cu|cuh|ts|mjs|py)$/.test(file))
    .sort();
  const folderOf = (file) => file.slice(0, file.lastIndexOf('/') + 1);
  return [...new Set(files.map(folderOf))]
    .sort()
    .map((folder) => {
      const entries = files
        .filter((file) => folderOf(file) === folder)
        .map((file) => `- ${entry(folder, file)}`);
      return `\n**\`${folder}\`**\n\n${entries.join('\n')}\n`;
    })
    .join('');
}

/** Returns "`name` purpose", where the purpose is the file's first sentence, which must be there. */
function entry(folder, file) {
  const lines = readFileSync(root + file, 'utf8').split('\n');
  const comments = file.endsWith('.py') ? /^# (.*)$/ : /^\/\/ (.*)$/;
  const comment = [];
  for (const line of lines[0]?.startsWith('#!') ? lines.slice(1) : lines) {
    const match = comments.exec(line);
    if (match === null) break;
    comment.push(match[1].trim());
  }
  if (comment.length === 0) fail(`${file}: the first line must be a comment that says what the file is for`);
  const purpose = /^.*?\.(?=\s+[A-Z]|$)|^.*$/.exec(comment.join(' '))[0].replace(/\.$/, '');
  return `\`${file.slice(folder.length)}\` ${purpose}`;
}
