// Packages that are optional: looked for where the program runs, then where pixelcnn is.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PixelCnnError } from '../errors.js';

/**
 * The file that `request`, a package or a file of one, stands for as seen from the working directory, else from this
 * package.
 * @throws PixelCnnError `code`, which says where it was looked for.
 */
export function resolveInstalled(request: string, purpose: string, code: string): string {
  for (const from of [join(process.cwd(), 'index.js'), import.meta.url]) {
    try {
      return createRequire(from).resolve(request);
    } catch {
      // not there: next place
    }
  }
  const [packageName] = request.split('/');
  const message = `${purpose} needs the npm package ${packageName}, not found from ${process.cwd()}, nor from pixelcnn itself`;
  throw new PixelCnnError(code, message, { remedy: `npm install ${packageName}` });
}
