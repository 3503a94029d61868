// Finds optional npm packages, first from the working directory and then from pixelcnn itself.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PixelCnnError } from '../errors.js';

/**
 * Resolves `request`, a package or a file in one, to the path of a file. An error has the given `code` and
 * begins with `purpose`, which says what the package is needed for.
 */
export function resolveInstalled(request: string, purpose: string, code: string): string {
  for (const from of [join(process.cwd(), 'index.js'), import.meta.url]) {
    try {
      return createRequire(from).resolve(request);
    } catch {
      // The package is not installed there. Try the next place.
    }
  }
  const [packageName] = request.split('/');
  const message = `${purpose} needs the npm package ${packageName}, not found from ${process.cwd()}, nor from pixelcnn itself`;
  throw new PixelCnnError(code, message, { remedy: `npm install ${packageName}` });
}
