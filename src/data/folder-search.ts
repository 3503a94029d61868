// Searches folders for image files and reports which files are no images.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PixelCnnError, systemError } from '../errors.js';
import { type FileKind, fileKind, foreignKind, START_BYTES } from './file-kind.js';
import { firstNames, type ImageNotes } from './image-notes.js';
import type { CheckedImageSpec } from './image-spec.js';
import { readFileStart } from './read-file.js';

type Part = Pick<CheckedImageSpec, 'offset' | 'limit'>;

/** The names in a folder. */
export interface Listing {
  readonly path: string;
  readonly files: readonly string[];
  readonly folders: readonly string[];
}

/**
 * Lists the files and folders in a folder, sorted by code units. Skips hidden files and those that operating
 * systems create, such as Thumbs.db.
 */
export async function listImages(path: string): Promise<Listing> {
  try {
    const [files, folders]: [string[], string[]] = [[], []];
    for (const entry of await readdir(path, { withFileTypes: true })) {
      const { name } = entry;
      if (/^(\.|__MACOSX$|Thumbs\.db$|desktop\.ini$)/i.test(name)) continue;
      if (entry.isDirectory() || (entry.isSymbolicLink() && (await isFolder(join(path, name)))))
        folders.push(name);
      else files.push(name);
    }
    return { path, files: files.sort(), folders: folders.sort() };
  } catch (cause) {
    throw systemError(`cannot read ${path}`, cause);
  }
}

async function isFolder(path: string): Promise<boolean> {
  return readdir(path).then(
    () => true,
    () => false,
  );
}

/** Returns the kind of a file by its first bytes, or undefined if it is of none or is no regular file. */
export async function kindOfFile(file: string): Promise<FileKind | undefined> {
  const read = await readFileStart(file, START_BYTES);
  return read && fileKind(read.start, read.size, file);
}

/** Collects image files up to the wanted number and remembers the files among them that are no images. */
export class ImageSearch {
  readonly files: string[] = [];
  readonly classes: number[] = [];
  readonly #most: number;
  readonly #leftOut: {
    readonly file: string;
    readonly description: string | undefined;
    readonly remedy: string | undefined;
  }[] = [];

  constructor({ offset, limit }: Part) {
    this.#most = offset + limit;
  }

  async add({ path, files }: Listing, label = 0): Promise<void> {
    for (const name of files) {
      if (this.files.length >= this.#most) return;
      const file = join(path, name);
      if (await this.#isImage(file)) {
        this.files.push(file);
        this.classes.push(label);
      }
    }
  }

  async #isImage(file: string): Promise<boolean> {
    const read = await readFileStart(file, START_BYTES);
    const kind = read && fileKind(read.start, read.size, file);
    if (kind === 'png' || kind === 'sharp') return true;
    const foreign = read && foreignKind(read.start, file);
    const description = kind === 'idx' ? 'an IDX file, to be given by its own path' : foreign?.description;
    this.#leftOut.push({ file, description, remedy: foreign?.remedy });
    return false;
  }

  /** Reports the files that were left out: in a note if images were found, otherwise in an error. */
  report({ path: root, folders }: Listing, notes: ImageNotes): void {
    const names = this.#leftOut.map(({ file, description }) => {
      const name = file.slice(root.length).replace(/^[/\\]/, '');
      return description === undefined ? name : `${name} (${description})`;
    });
    const count = names.length;
    const files = `${count} ${count === 1 ? 'file that is no image' : 'files that are no images'}`;
    if (this.files.length > 0) {
      if (count > 0) notes.add(`left out ${files}: ${firstNames(names)}`);
      return;
    }
    const known = this.#leftOut.find(({ description }) => description !== undefined);
    const where = folders.length > 0 ? 'in folder or the folders in it' : 'in folder';
    const nothing = `no IDX, CIFAR-10 or image files ${where}: ${root}`;
    if (known?.description === undefined) {
      const remedy = 'give the folder in which the images lie, or the folders of their classes';
      throw new PixelCnnError('ERR_DATASET_NOT_FOUND', nothing, folders.length > 0 ? { remedy } : {});
    }
    throw new PixelCnnError('IMAGE_FORMAT', `${nothing}; it has ${files}: ${firstNames(names)}`, {
      ...(known.remedy !== undefined && { remedy: known.remedy }),
    });
  }
}

/** Whether a folder directly contains an image file. */
export async function hasImages(path: string): Promise<boolean> {
  const search = new ImageSearch({ offset: 0, limit: 1 });
  await search.add(await listImages(path));
  return search.files.length > 0;
}
