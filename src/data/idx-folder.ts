// Finds the IDX files of the MNIST family in a folder, by the names under which MNIST and EMNIST are published.
import { join } from 'node:path';
import { PixelCnnError } from '../errors.js';
import { emnistMappingName, emnistName } from './emnist.js';
import { kindOfFile, type Listing } from './folder-search.js';
import { labelsFileNames } from './idx-file.js';
import type { Split } from './image-spec.js';

/** The IDX files of one data set in a folder. */
export interface IdxFolder {
  /** The name of the images file of each split. */
  readonly images: ReadonlyMap<Split, string>;
  /** The names of all files of the data set: images, labels and the names of classes. */
  readonly names: ReadonlySet<string>;
}

/**
 * Finds the images files of MNIST, or else of EMNIST, and the names of the files that go with them.
 * @throws PixelCnnError ERR_NO_SPLIT if there are several of the data sets that EMNIST consists of.
 */
export async function findIdxFiles({ path, files }: Listing): Promise<IdxFolder | undefined> {
  const sets = new Map<string | undefined, Map<Split, string>>();
  for (const name of files) {
    const part = imagesPart(name);
    if (part === undefined || !(await isIdxFile(join(path, name)))) continue;
    const images = sets.get(part.emnist) ?? new Map<Split, string>();
    if (!images.has(part.split)) images.set(part.split, name);
    sets.set(part.emnist, images);
  }
  // Files of EMNIST beside those of MNIST are left out.
  const [chosen, ...others] = sets.has(undefined) ? [undefined] : [...sets.keys()];
  const images = sets.get(chosen);
  if (images === undefined) return undefined;
  if (others.length > 0) {
    const found = [chosen, ...others].join(' and ');
    const example = images.get('train') ?? images.get('test') ?? '';
    throw new PixelCnnError('ERR_NO_SPLIT', `${path} has several data sets of EMNIST: ${found}`, {
      remedy: `give the path of one file of images, such as ${join(path, example)}, or of a folder with one data set`,
    });
  }
  const names = new Set([...images.values()].flatMap((name) => [name, ...labelsFileNames(name)]));
  if (chosen !== undefined) names.add(emnistMappingName(chosen));
  return { images, names };
}

/** Returns the split that a file of images belongs to by its name, and the data set if it is one of EMNIST. */
function imagesPart(name: string): { readonly emnist?: string; readonly split: Split } | undefined {
  if (/^train-images/.test(name)) return { split: 'train' };
  if (/^(t10k|test)-images/.test(name)) return { split: 'test' };
  const emnist = emnistName(name);
  return emnist?.content === 'images' ? { emnist: emnist.set, split: emnist.split } : undefined;
}

/**
 * Whether the IDX reader should read the file. A file of no known kind counts too if it has the name of an
 * IDX file, so that the reader reports how it is damaged.
 */
async function isIdxFile(file: string): Promise<boolean> {
  const kind = await kindOfFile(file);
  return kind === 'idx' || (kind === undefined && /(idx\d|ubyte|\.gz)[^.]*(\.gz)?$/.test(file));
}
