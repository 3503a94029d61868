// Plants the bugs of bugs.json in copies of cuda/, one bug per copy, so that tests can show that each is
// found.
// Usage: node plant.mjs CUDA_FOLDER OUT_FOLDER   writes OUT_FOLDER/NAME/ and prints "NAME PROGRAM COMPILED" for each bug
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const list = 'test/native/planted_bugs/bugs.json';

/**
 * The planted bugs. Each replaces `find`, which stands once in `file` of cuda/, by `replace`. `program` is the test that
 * must find it, linked with `compiled`, a .cu file that has the bug or includes it; run with `arguments`, its output
 * must match `found`. Where `program` is "library", the library for the whole backend has the bug, and a test of
 * test/cuda finds it.
 */
export const plantedBugs = JSON.parse(readFileSync(new URL('bugs.json', import.meta.url), 'utf8'));

/** The text of `bug.file` with the bug in it. Throws where the patch does not fit the text. */
export function withBug(text, bug) {
  const places = text.split(bug.find).length - 1;
  if (places !== 1)
    throw new Error(
      `planted bug '${bug.name}': its text stands ${places} times in cuda/${bug.file} instead of once; ` +
        `mend ${list}. The text:\n${bug.find}`,
    );
  // A function, since a text would be searched for $ signs.
  return text.replace(bug.find, () => bug.replace);
}

/** A copy of the folder `from` with one bug. A file that is right already keeps its time, and is not compiled again. */
function plant(from, to, bug) {
  if (!existsSync(join(from, bug.file)))
    throw new Error(`planted bug '${bug.name}': there is no cuda/${bug.file}; mend ${list}`);
  for (const name of filesOf(from)) {
    const text = readFileSync(join(from, name), 'utf8');
    writeIfChanged(join(to, name), name === bug.file ? withBug(text, bug) : text);
  }
  for (const name of filesOf(to)) if (!existsSync(join(from, name))) rmSync(join(to, name));
}

/** The paths of all files below a folder, from there. */
export function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

function writeIfChanged(path, text) {
  if (existsSync(path) && readFileSync(path, 'utf8') === text) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

const script = process.argv[1];
if (script !== undefined && realpathSync(script) === fileURLToPath(import.meta.url)) {
  const [from, to] = process.argv.slice(2);
  for (const bug of plantedBugs) {
    plant(from, join(to, bug.name), bug);
    process.stdout.write(`${bug.name} ${bug.program} ${bug.compiled}\n`);
  }
}
