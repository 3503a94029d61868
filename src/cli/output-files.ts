// Writes the files of commands, each completely or not at all, and creates the folders that they need.
import { mkdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../checkpoint/atomic-file.js';
import type { ImageBatch } from '../data/image-batch.js';
import { type ImageGridOptions, imageGrid } from '../data/image-grid.js';
import { encodePng } from '../data/png.js';
import { systemError } from '../errors.js';
import { z } from '../options.js';

export const gridScale = z
  .int()
  .min(1)
  .max(64)
  .default(2)
  .describe('every pixel of the grid becomes N x N pixels');

/** Writes a file atomically, and creates its folder if it does not exist. */
export async function writeOutput(path: string, content: string | Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true }).catch((cause: unknown) => {
    throw systemError(`cannot make the folder of ${path}`, cause);
  });
  await writeFileAtomic(path, typeof content === 'string' ? Buffer.from(content) : content);
}

/** Writes all images side by side as PNG, on mid-grey so that the edges of white and of black images show. */
export async function writeGrid(
  path: string,
  images: ImageBatch,
  options: ImageGridOptions = {},
): Promise<void> {
  await writeOutput(path, encodePng(imageGrid(images, { background: 128, ...options })));
}
