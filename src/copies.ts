// Refuses devices and models that belong to another copy of this package in the same process.
//
// A copy cannot read the private fields of an object that was made by another copy. Without this check the
// user would see a confusing TypeError.

import { packageRoot } from './device/native-binary.js';
import { PixelCnnError } from './errors.js';
import { packageVersion } from './version.js';

/**
 * Key under which devices and models hold the {@link Copy} that made them. All copies of the package get the same
 * symbol, so each can read the mark of another.
 */
export const copyMark = Symbol.for('pixelcnn.copy');

/** @internal One loaded copy of the package. */
export interface Copy {
  readonly version: string;
  /** The folder that contains its package.json. */
  readonly folder: string;
}

/** This copy. Its version is read from package.json only when a message needs it. */
export const thisCopy: Copy = {
  folder: packageRoot,
  get version() {
    return packageVersion();
  },
};

/** Throws ERR_TWO_COPIES if `value` is a device or a model of another copy. Any other value passes. */
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

/**
 * Returns the copy that made `value`, or undefined if this copy made it or it carries no mark. `value` comes from
 * the caller, so reading its properties may throw.
 */
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
  // JSON escapes control characters, which could otherwise control the terminal that shows the message.
  return `version ${JSON.stringify(version).slice(1, -1)} in ${JSON.stringify(folder).slice(1, -1)}`;
}
