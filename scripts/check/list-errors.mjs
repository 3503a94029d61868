// Checks that docs/errors.md explains every error code that the sources can throw, and renews its last column, which
// says where. With --check it only compares.
//
// A code is a quoted word like 'ERR_LIMIT' anywhere in the code of src/, native/ or cuda/, except where it is compared
// with: those codes are thrown elsewhere, by Node for instance. The meaning and the remedy are written by hand in the
// table itself.
import { readFileSync, writeFileSync } from 'node:fs';
import { fail, outputOf, root } from '../steps.mjs';

/** Environment variables of others that the sources read. */
const variables = ['CONDA_PREFIX', 'CUDA_HOME', 'CUDA_PATH', 'VIRTUAL_ENV', 'XDG_CACHE_HOME'];

const path = `${root}docs/errors.md`;
const text = readFileSync(path, 'utf8');
const found = codes();
const explained = new Set();
const complaints = [];
const updated = text
  .split('\n')
  .map((line, index) => renew(line, `docs/errors.md:${index + 1}`))
  .join('\n');
for (const [code, files] of found) {
  if (explained.has(code)) continue;
  complaints.push(
    `docs/errors.md does not explain ${code} of ${[...files].join(', ')}: add a row to a table.`,
  );
}
if (complaints.length > 0) fail(complaints.join('\n'));
if (!process.argv.includes('--check')) writeFileSync(path, updated);
else if (updated !== text)
  fail('docs/errors.md does not say where codes are thrown as it is now. Run `npm run format`.');

/** Finds the files that throw each code. */
function codes() {
  const result = new Map();
  const names = outputOf('git', ['ls-files', '-co', '--exclude-standard', 'src', 'native', 'cuda'])
    .split('\n')
    .filter((name) => /\.(ts|cc|h|cu)$/.test(name))
    .sort();
  for (const name of names) {
    for (const code of codesOf(readFileSync(root + name, 'utf8'), name)) {
      if (!result.has(code)) result.set(code, new Set());
      result.get(code).add(name);
    }
  }
  return result;
}

/** Finds the codes in a source text. */
function codesOf(source, name) {
  const code = source.replace(/^[ \t]*(?:\/\/.*|\/\*[\s\S]*?\*\/)/gm, '');
  const assembled = /['"`][A-Z][A-Z\d]*(?:_[A-Z\d]+)*_(?:['"`]|\$\{)|['"`}](?:_[A-Z\d]+)+_?['"`]/.exec(code);
  if (assembled !== null)
    complaints.push(`${name}: ${assembled[0]}… is put together: write codes out, so that they can be found.`);
  const compared = /(?:[!=]==?|\bcase)\s*$/;
  return [...code.matchAll(/(['"`])([A-Z][A-Z\d]*(?:_[A-Z\d]+)+)\1(?!\s*[!=]=)/g)]
    .filter(({ index }) => !compared.test(code.slice(Math.max(0, index - 20), index)))
    .map(([, , word]) => word)
    .filter((word) => !isVariable(word));
}

/** Whether a word names an environment variable, which looks like a code. */
function isVariable(word) {
  return /^PIXELCNN_/.test(word) || variables.includes(word);
}

/** Renews the last column of a row of a table, and returns any other line as it is. */
function renew(line, where) {
  const code = /^\| `([A-Z\d]+(?:_[A-Z\d]+)+)` \|/.exec(line)?.[1];
  if (code === undefined) return line;
  const cells = line.split(' | ');
  const files = found.get(code);
  if (cells.length !== 4) complaints.push(`${where}: the row of ${code} must have four columns.`);
  else if (cells.slice(1, 3).some((cell) => cell.trim() === ''))
    complaints.push(`${where}: the row of ${code} must say what it means and what to do.`);
  if (files === undefined) complaints.push(`${where}: no source throws ${code} any more: remove its row.`);
  if (explained.has(code)) complaints.push(`${where}: ${code} is explained twice.`);
  explained.add(code);
  return files === undefined ? line : `${cells.slice(0, 3).join(' | ')} | ${placesOf([...files])} |`;
}

/** Links up to three files, or else their folders. */
function placesOf(files) {
  const folders = files.map((file) => file.slice(0, file.lastIndexOf('/')));
  const places = files.length > 3 ? [...new Set(folders)] : files;
  return places.map((place) => `[${place}](../${place})`).join(', ');
}
