// Bugs planted in copies of cuda/ (planted_bugs/bugs.json): the tests of the kernels find each of them.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

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

const { plantedBugs, withBug } = (await import(`${root}test/native/planted_bugs/plant.mjs`)) as {
  plantedBugs: PlantedBug[];
  withBug: (text: string, bug: PlantedBug) => string;
};
const sourceOf = ({ file }: PlantedBug) => readFileSync(`${root}cuda/${file}`, 'utf8');

describe('a bug planted in a copy of cuda/', () => {
  it('is one of twelve at least', () => expect(plantedBugs.length).toBeGreaterThanOrEqual(12));

  it.each(plantedBugs)('is found: $what ($name)', { timeout: 60_000 }, (bug) => {
    const program = `${root}build/${bug.program}_${bug.name}`;
    expect(existsSync(program), 'run scripts/setup.mjs --tests').toBe(true);
    const { stdout, status } = spawnSync(program, bug.arguments, { encoding: 'utf8' });
    expect(stdout).toMatch(new RegExp(bug.found));
    expect(status).toBe(1);
  });

  it.each(plantedBugs)('was built from what cuda/ is now: $name', (bug) => {
    const copy = readFileSync(`${root}build/planted_bugs/${bug.name}/${bug.file}`, 'utf8');
    expect(copy).toBe(withBug(sourceOf(bug), bug));
    expect(copy).not.toBe(sourceOf(bug));
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
});
