// Two copies of this package in one process: an object of the other one's classes is recognised and refused by name,
// since its private state is out of reach here.

import { packageRoot } from './device/native-binary.js';
import { PixelCnnError } from './errors.js';
import { packageVersion } from './version.js';

/** The same symbol in every copy: what devices and models carry it as says which copy they are of. */
export const copyMark = Symbol.for('pixelcnn.copy');

/** @internal One copy of the package, as it was loaded. */
export interface Copy {
  readonly version: string;
  /** The folder of its package.json. */
  readonly folder: string;
}

export const thisCopy: Copy = {
  folder: packageRoot,
  get version() {
    return packageVersion();
  },
};

/**
 * Refuses `value` where it is an object of another copy's class `expected`; anything else is left to the caller.
 * @throws PixelCnnError ERR_TWO_COPIES.
 */
export function checkCopy(caller: string, argument: string, value: unknown): void {
  const other = copyOf(value);
  if (other === undefined) return;
  const twice = other.folder === thisCopy.folder;
  throw new PixelCnnError(
    'ERR_TWO_COPIES',
    twice
      ? `${caller}: ${argument} comes from pixelcnn as it was loaded before; ${describe(thisCopy)} is loaded twice`
      : `${caller}: ${argument} comes from another copy of pixelcnn, ${describe(other)}; this is ${describe(thisCopy)}`,
    {
      remedy: twice
        ? 'open devices and make models after modules were reset (vi.resetModules, jest.resetModules, hot reloading), not before'
        : 'install one: `npm ls pixelcnn` says who asks for which, `npm dedupe` makes them one where versions allow',
    },
  );
}

/** The other copy that `value` is of; undefined for everything else. Properties of a stranger's may throw. */
function copyOf(value: unknown): Copy | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  try {
    const copy = (value as { [copyMark]?: Copy })[copyMark];
    if (copy === undefined || copy === thisCopy) return undefined;
    const { version, folder } = copy;
    return typeof version === 'string' && typeof folder === 'string' ? { version, folder } : undefined;
  } catch {
    return undefined;
  }
}

function describe({ version, folder }: Copy): string {
  // What another copy says must not control a terminal.
  return `version ${JSON.stringify(version).slice(1, -1)} in ${JSON.stringify(folder).slice(1, -1)}`;
}
