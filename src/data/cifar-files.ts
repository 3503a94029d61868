// Reads CIFAR-10 batches from disk, with the names of the classes that lie next to them.
import { dirname, join } from 'node:path';
import { parseCifar } from './cifar.js';
import type { ImageBatch } from './image-batch.js';
import { listFolder, readFileBounded } from './read-file.js';

/** The file, next to the batches of CIFAR-10, that contains the names of the classes. */
export const cifarClassNamesFile = 'batches.meta.txt';

/** Reads batches of one folder, at least one, and joins them. */
export async function loadCifarFiles(files: readonly string[]): Promise<ImageBatch> {
  const batches: ImageBatch[] = [];
  for (const file of files) batches.push(parseCifar(await readFileBounded(file), { file }));
  const count = batches.reduce((sum, batch) => sum + batch.count, 0);
  const data = new Uint8Array(count * 32 * 32 * 3);
  const labels = new Uint8Array(count);
  let at = 0;
  for (const batch of batches) {
    data.set(batch.data, at * 32 * 32 * 3);
    if (batch.labels) labels.set(batch.labels, at);
    at += batch.count;
  }
  const classNames = await readClassNames(dirname(files[0] as string));
  return { data, count, height: 32, width: 32, channels: 3, labels, ...(classNames && { classNames }) };
}

/** Reads the names of the ten classes, one a line, if the file that comes with CIFAR-10 is in the folder. */
async function readClassNames(folder: string): Promise<string[] | undefined> {
  if (!(await listFolder(folder)).includes(cifarClassNamesFile)) return undefined;
  const text = Buffer.from(await readFileBounded(join(folder, cifarClassNamesFile), 4096)).toString('utf8');
  const names = text.split(/\r?\n/).filter((line) => line !== '');
  return names.length === 10 ? names : undefined;
}
