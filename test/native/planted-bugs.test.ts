// Plants bugs in copies of cuda/ (planted_bugs/bugs.json), and checks that the tests of the kernels find
// each of them.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from '../helpers/temporary-folder.js';

const root = fileURLToPath(new URL('../../', import.meta.url));

interface PlantedBug {
  readonly name: string;
  readonly what: string;
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  readonly program: string;
  readonly arguments: readonly string[];
  readonly found: string;
}

/** Those that a program of test/native finds; those of a whole library are test/cuda/deferred.test.ts's. */
const hasProgram = ({ program }: PlantedBug) => program !== 'library';

const { filesOf, plantedBugs, withBug } = (await import(`${root}test/native/planted_bugs/plant.mjs`)) as {
  filesOf: (folder: string) => string[];
  plantedBugs: PlantedBug[];
  withBug: (text: string, bug: PlantedBug) => string;
};
const sourceOf = ({ file }: PlantedBug) => readFileSync(`${root}cuda/${file}`, 'utf8');

describe('a bug planted in a copy of cuda/', () => {
  it('is one of twelve at least', () =>
    expect(plantedBugs.filter(hasProgram).length).toBeGreaterThanOrEqual(12));

  it.each(plantedBugs.filter(hasProgram))('is found: $what ($name)', { timeout: 60_000 }, (bug) => {
    const program = `${root}build/${bug.program}_${bug.name}`;
    expect(existsSync(program), 'run scripts/build/setup.mjs --tests').toBe(true);
    const { stdout, status } = spawnSync(program, bug.arguments, { encoding: 'utf8' });
    expect(stdout).toMatch(new RegExp(bug.found));
    expect(status).toBe(1);
  });

  it.each(plantedBugs)('was built from what cuda/ is now: $name', (bug) => {
    const copy = `${root}build/planted_bugs/${bug.name}/`;
    expect(filesOf(copy).sort()).toEqual(filesOf(`${root}cuda`).sort());
    const stale = filesOf(copy).filter((file) => {
      const text = readFileSync(`${root}cuda/${file}`, 'utf8');
      return readFileSync(copy + file, 'utf8') !== (file === bug.file ? withBug(text, bug) : text);
    });
    expect(stale, 'run scripts/build/setup.mjs --tests').toEqual([]);
  });
});

describe('a patch that no longer fits', () => {
  const bug = plantedBugs[0]!;

  it.each([
    ['since its text is gone', (text: string) => text.replace(bug.find, ''), 'stands 0 times'],
    ['since its text stands twice', (text: string) => text + text, 'stands 2 times'],
  ])('is refused with its name: %s', (_, change, message) => {
    expect(() => withBug(change(sourceOf(bug)), bug)).toThrow(message);
    expect(() => withBug(change(sourceOf(bug)), bug)).toThrow(`'${bug.name}'`);
  });

  it('stops the script when its file is gone', () => {
    const folder = temporaryFolder('planted');
    const empty = join(folder, 'cuda');
    mkdirSync(empty);
    const script = `${root}test/native/planted_bugs/plant.mjs`;
    const { status, stderr } = spawnSync(process.execPath, [script, empty, join(folder, 'out')], {
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain(`'${bug.name}': there is no cuda/${bug.file}`);
  });
});
