// Finds out what a folder contains: IDX files, CIFAR-10 batches, or image files in splits and classes.
import { join } from 'node:path';
import { PixelCnnError } from '../errors.js';
import { cifarClassNamesFile } from './cifar-files.js';
import { hasImages, ImageSearch, kindOfFile, type Listing, listImages } from './folder-search.js';
import { findIdxFiles } from './idx-folder.js';
import { firstNames, type ImageNotes } from './image-notes.js';
import type { CheckedImageSpec, Split } from './image-spec.js';

/**
 * The files to read from a folder: IDX images, CIFAR-10 batches, or image files with their classes, if any.
 */
export type FolderContent =
  | { readonly kind: 'idx'; readonly split: Split; readonly file: string }
  | { readonly kind: 'cifar'; readonly split: Split; readonly files: readonly string[] }
  | {
      readonly kind: 'images';
      /** Undefined if the folder has no splits. */
      readonly split: Split | undefined;
      readonly files: readonly string[];
      /** For each file, the index of its class in `classNames`. */
      readonly classes: readonly number[] | undefined;
      readonly classNames: string[] | undefined;
    };

type Wanted = Pick<CheckedImageSpec, 'split' | 'offset' | 'limit'>;

/** The names that the subfolder of each split may have. */
const SPLIT_FOLDERS: Readonly<Record<Split, RegExp>> = {
  train: /^train(ing)?$/i,
  test: /^test(ing)?$/i,
  validation: /^(val|valid|validation)$/i,
};
const SPLITS = Object.keys(SPLIT_FOLDERS) as Split[];

/**
 * Creates the error for a missing split. It lists `splits`, those that exist, or says what was `found`
 * instead.
 */
export function noSplitError(
  path: string,
  split: Split,
  splits: readonly Split[],
  found: string,
): PixelCnnError {
  const message = `${path} has no split '${split}': ${splits.length === 0 ? found : `it has ${splits.join(' and ')}`}`;
  const folder = split === 'validation' ? 'val' : split;
  const remedy =
    splits.length === 0
      ? `put the images into folders train/ and ${split === 'train' ? 'test' : folder}/ of it, or give a path of their own for the ${split} images`
      : 'give a split that there is';
  return new PixelCnnError('ERR_NO_SPLIT', message, { remedy });
}

/**
 * Chooses the wanted split, or 'train' if none is given. In that case a note names the splits that are left
 * out.
 */
function chooseSplit(
  path: string,
  wanted: Split | undefined,
  splits: readonly Split[],
  notes: ImageNotes,
): Split {
  const split = wanted ?? 'train';
  if (!splits.includes(split)) throw noSplitError(path, split, splits, '');
  const others = splits.filter((other) => other !== split);
  if (wanted === undefined && others.length > 0) {
    const named = others.map((other) => `${path}:${other === 'validation' ? 'val' : other}`);
    notes.add(
      `took the split train of it; ${named.join(' and ')} ${named.length > 1 ? 'are' : 'is'} left out`,
    );
  }
  return split;
}

/**
 * Finds out what to read from a folder. It looks first for IDX files of the MNIST family, then for CIFAR-10
 * batches, then for image files.
 * @throws PixelCnnError ERR_DATASET_NOT_FOUND if there is nothing to read, IMAGE_FORMAT if there are only
 * files of another known format.
 */
export async function readFolder(path: string, wanted: Wanted, notes: ImageNotes): Promise<FolderContent> {
  const listing = await listImages(path);
  return (
    (await findIdx(listing, wanted, notes)) ??
    (await findCifar(listing, wanted, notes)) ??
    (await findImages(listing, wanted, notes))
  );
}

async function findIdx(
  listing: Listing,
  wanted: Wanted,
  notes: ImageNotes,
): Promise<FolderContent | undefined> {
  const found = await findIdxFiles(listing);
  if (found === undefined) return undefined;
  const splits = SPLITS.filter((split) => found.images.has(split));
  const split = chooseSplit(listing.path, wanted.split, splits, notes);
  noteOthers('the IDX files', listing, found.names, notes);
  return { kind: 'idx', split, file: join(listing.path, found.images.get(split) as string) };
}

/**
 * Adds a note that names the files and folders of a listing that are not in `known`, the names of `source`.
 */
function noteOthers(
  source: string,
  { path, files, folders }: Listing,
  known: ReadonlySet<string>,
  notes: ImageNotes,
): void {
  const beside = [...folders.map((name) => `${name}/`), ...files].filter((name) => !known.has(name));
  if (beside.length > 0) notes.add(`left out beside ${source} of ${path}: ${firstNames(beside)}`);
}

async function findCifar(
  listing: Listing,
  wanted: Wanted,
  notes: ImageNotes,
): Promise<FolderContent | undefined> {
  const batches: string[] = [];
  for (const name of listing.files) {
    if (!/\.bin$/i.test(name)) continue;
    const kind = await kindOfFile(join(listing.path, name));
    // A .bin file named "batch" that is no valid batch is probably a damaged one, which the CIFAR-10 reader
    // reports. Any other .bin file has nothing to do with CIFAR-10.
    if (kind === 'cifar' || (kind === undefined && /batch/i.test(name))) batches.push(name);
  }
  if (batches.length === 0) return undefined;
  const ofSplit = (split: Split) => batches.filter((name) => /test/.test(name) === (split === 'test'));
  const splits = (['train', 'test'] as const).filter((split) => ofSplit(split).length > 0);
  const split = chooseSplit(listing.path, wanted.split, splits, notes);
  noteOthers('the CIFAR-10 batches', listing, new Set([...batches, cifarClassNamesFile]), notes);
  return { kind: 'cifar', split, files: ofSplit(split).map((name) => join(listing.path, name)) };
}

async function findImages(listing: Listing, wanted: Wanted, notes: ImageNotes): Promise<FolderContent> {
  const { path } = listing;
  const splits = await splitFolders(listing);
  if (splits.size === 0) {
    if (wanted.split !== undefined) {
      const alone = listing.folders.find((name) => SPLITS.some((known) => SPLIT_FOLDERS[known].test(name)));
      const found =
        alone === undefined
          ? 'it has no folders train/, test/ and val/'
          : `its folder ${alone}/ lies beside other folders of images, so that all of them are classes`;
      throw noSplitError(path, wanted.split, [], found);
    }
    return { ...(await collect(listing, await classFolders([listing]), wanted, notes)), split: undefined };
  }
  const split = chooseSplit(path, wanted.split, [...splits.keys()], notes);
  noteOthers('the splits', listing, new Set([...splits.values()].map((name) => `${name}/`)), notes);
  const listings = new Map<Split, Listing>();
  for (const [known, name] of splits) listings.set(known, await listImages(join(path, name)));
  // Classes are collected from all splits, so that a class has the same label in each, even if one has no
  // image of it.
  const classes = await classFolders([...listings.values()]);
  return { ...(await collect(listings.get(split) as Listing, classes, wanted, notes)), split };
}

/**
 * Finds the subfolders that are splits. If only one subfolder has the name of a split and there are other
 * folders of images, as in bus/, car/, train/, then it is a class.
 * @throws PixelCnnError ERR_NO_SPLIT if two folders are the same split, such as val/ and valid/.
 */
async function splitFolders({ path, folders }: Listing): Promise<Map<Split, string>> {
  const found = new Map<Split, string>();
  const others: string[] = [];
  for (const name of folders) {
    const split = SPLITS.find((known) => SPLIT_FOLDERS[known].test(name));
    if (split === undefined) {
      others.push(name);
      continue;
    }
    const twin = found.get(split);
    if (twin !== undefined) {
      const remedy = 'rename or remove one of them, or give the path of the one that is meant';
      throw new PixelCnnError('ERR_NO_SPLIT', `${path} has the split ${split} twice: ${twin}/ and ${name}/`, {
        remedy,
      });
    }
    found.set(split, name);
  }
  if (found.size !== 1) return found;
  for (const name of others) if (await hasImages(join(path, name))) return new Map();
  return found;
}

/** Returns the names, sorted by code units, of the subfolders that contain images in any of the listings. */
async function classFolders(listings: readonly Listing[]): Promise<string[]> {
  const names = new Set<string>();
  for (const { path, folders } of listings) {
    for (const name of folders) if (!names.has(name) && (await hasImages(join(path, name)))) names.add(name);
  }
  return [...names].sort();
}

/** Collects the images that are directly in the folder, or, if there are none, those in its class folders. */
async function collect(
  listing: Listing,
  classNames: string[],
  wanted: Wanted,
  notes: ImageNotes,
): Promise<Omit<Extract<FolderContent, { kind: 'images' }>, 'split'>> {
  const { path, folders } = listing;
  const search = new ImageSearch(wanted);
  await search.add(listing);
  if (search.files.length > 0 || classNames.length === 0) {
    search.report(listing, notes);
    const passed = folders.map((name) => `${name}/`);
    if (passed.length > 0)
      notes.add(`passed over folders beside the images of ${path}: ${firstNames(passed)}`);
    return { kind: 'images', files: search.files, classes: undefined, classNames: undefined };
  }
  const deeper: string[] = [];
  for (const [label, name] of classNames.entries()) {
    if (!folders.includes(name)) continue;
    const inside = await listImages(join(path, name));
    deeper.push(...inside.folders.map((folder) => `${name}/${folder}/`));
    await search.add(inside, label);
  }
  search.report(listing, notes);
  const { files, classes } = search;
  notes.add(`classes by folder: ${classNames.length} (${firstNames(classNames, 10)})`);
  const others = folders.filter((name) => !classNames.includes(name)).map((name) => `${name}/`);
  if (others.length > 0)
    notes.add(`left out folders that are no classes, without images directly in them: ${firstNames(others)}`);
  if (deeper.length > 0) notes.add(`left out folders inside of classes: ${firstNames(deeper)}`);
  noteAbsent(classNames, classes.slice(wanted.offset), wanted, notes);
  return { kind: 'images', files, classes, classNames };
}

/** Adds a note that names the classes without an image among those that are read, of the classes `labels`. */
function noteAbsent(
  classNames: readonly string[],
  labels: readonly number[],
  { offset, limit }: Wanted,
  notes: ImageNotes,
): void {
  const present = new Set(labels);
  const absent = classNames.filter((_, label) => !present.has(label));
  if (absent.length === 0) return;
  // Images are read class by class, so a part of them has all images of some classes and none of others.
  const part = offset > 0 || labels.length === limit;
  const why = part ? '; `offset` and `limit` count the images class by class, not some of each class' : '';
  notes.add(`no images of ${absent.length} of ${classNames.length} classes: ${firstNames(absent)}${why}`);
}
