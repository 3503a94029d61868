// What a folder of images holds: IDX files, CIFAR-10 batches, or images in splits and classes.
import { basename, join } from 'node:path';
import { PixelCnnError } from '../errors.js';
import { type FileKind, fileKind, START_BYTES } from './file-kind.js';
import { hasImages, ImageSearch, type Listing, listImages } from './folder-search.js';
import { labelsNames } from './idx-file.js';
import { firstNames, type ImageNotes } from './image-notes.js';
import type { CheckedImageSpec, Split } from './image-spec.js';
import { readFileBounded, readFileStart } from './read-file.js';

/** What to read of a folder: IDX images, CIFAR-10 batches, or image files with their classes where there are any. */
export type FolderContent =
  | { readonly kind: 'idx'; readonly split: Split; readonly file: string }
  | {
      readonly kind: 'cifar';
      readonly split: Split;
      readonly files: readonly string[];
      readonly classNames: string[] | undefined;
    }
  | {
      readonly kind: 'images';
      /** Undefined where the folder has no splits. */
      readonly split: Split | undefined;
      readonly files: readonly string[];
      /** Index in `classNames` of each file. */
      readonly classes: readonly number[] | undefined;
      readonly classNames: string[] | undefined;
    };

type Wanted = Pick<CheckedImageSpec, 'split' | 'offset' | 'limit'>;

/** Names of the subfolders that hold a split. */
const SPLIT_FOLDERS: Readonly<Record<Split, RegExp>> = {
  train: /^train(ing)?$/i,
  test: /^test(ing)?$/i,
  validation: /^(val|valid|validation)$/i,
};
/** Beside the batches of CIFAR-10: the names of its classes. */
const classNamesFile = 'batches.meta.txt';
const SPLITS = Object.keys(SPLIT_FOLDERS) as Split[];

async function kindOf(file: string): Promise<FileKind | undefined> {
  const read = await readFileStart(file, START_BYTES);
  return read && fileKind(read.start, read.size, file);
}

/** An error that says which splits there are; `what` says what was found instead where there are none. */
export function noSplit(path: string, split: Split, splits: readonly Split[], what: string): PixelCnnError {
  const message = `${path} has no split '${split}': ${splits.length === 0 ? what : `it has ${splits.join(' and ')}`}`;
  const folder = split === 'validation' ? 'val' : split;
  const remedy =
    splits.length === 0
      ? `put the images into folders train/ and ${split === 'train' ? 'test' : folder}/ of it, or give a path of their own for the ${split} images`
      : 'give a split that there is';
  return new PixelCnnError('ERR_NO_SPLIT', message, { remedy });
}

/** The split to read of those there are: the one asked for, else 'train', which is told. */
function chooseSplit(
  path: string,
  wanted: Split | undefined,
  splits: readonly Split[],
  notes: ImageNotes,
): Split {
  const split = wanted ?? 'train';
  if (!splits.includes(split)) throw noSplit(path, split, splits, '');
  const others = splits.filter((other) => other !== split);
  if (wanted === undefined && others.length > 0) {
    const named = others.map((other) => `${path}:${other === 'validation' ? 'val' : other}`);
    notes.tell(
      `took the split train of it; ${named.join(' and ')} ${named.length > 1 ? 'are' : 'is'} left out`,
    );
  }
  return split;
}

/**
 * Looks into a folder: IDX files of the MNIST family, CIFAR-10 batches, else images, in this order.
 * @throws PixelCnnError ERR_DATASET_NOT_FOUND (nothing to read), ERR_NO_SPLIT, IMAGE_FORMAT (nothing but files of
 * another known format), errno of reading.
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
  const { path, files } = listing;
  const found = new Map<Split, string>();
  for (const [split, stem] of [
    ['train', /^train-images/],
    ['test', /^(t10k|test)-images/],
  ] as const) {
    for (const name of files) {
      const file = join(path, name);
      if (!found.has(split) && stem.test(name) && (await isIdxFile(file))) found.set(split, file);
    }
  }
  if (found.size === 0) return undefined;
  const split = chooseSplit(path, wanted.split, [...found.keys()], notes);
  const images = [...found.values()].map((file) => basename(file));
  tellBeside(
    'the IDX files',
    listing,
    new Set(images.flatMap((name) => [name, ...labelsNames(name)])),
    notes,
  );
  return { kind: 'idx', split, file: found.get(split) as string };
}

/** Tells the files and folders of a listing beside the `known` ones, which are called `what`. */
function tellBeside(
  what: string,
  { path, files, folders }: Listing,
  known: ReadonlySet<string>,
  notes: ImageNotes,
): void {
  const beside = [...folders.map((name) => `${name}/`), ...files].filter((name) => !known.has(name));
  if (beside.length > 0) notes.tell(`left out beside ${what} of ${path}: ${firstNames(beside)}`);
}

/** A file that an IDX name promises and that is of no other kind counts as well: the reader says what is wrong with it. */
async function isIdxFile(file: string): Promise<boolean> {
  const kind = await kindOf(file);
  return kind === 'idx' || (kind === undefined && /(idx\d|ubyte|\.gz)[^.]*(\.gz)?$/.test(file));
}

async function findCifar(
  listing: Listing,
  wanted: Wanted,
  notes: ImageNotes,
): Promise<FolderContent | undefined> {
  const batches: string[] = [];
  for (const name of listing.files) {
    if (!/\.bin$/i.test(name)) continue;
    const kind = await kindOf(join(listing.path, name));
    // A batch of no known kind is a damaged one: its reader says so. Other .bin files are something else.
    if (kind === 'cifar' || (kind === undefined && /batch/i.test(name))) batches.push(name);
  }
  if (batches.length === 0) return undefined;
  const ofSplit = (split: Split) => batches.filter((name) => /test/.test(name) === (split === 'test'));
  const splits = (['train', 'test'] as const).filter((split) => ofSplit(split).length > 0);
  const split = chooseSplit(listing.path, wanted.split, splits, notes);
  tellBeside('the CIFAR-10 batches', listing, new Set([...batches, classNamesFile]), notes);
  return {
    kind: 'cifar',
    split,
    files: ofSplit(split).map((name) => join(listing.path, name)),
    classNames: await cifarClassNames(listing),
  };
}

/** The names of the ten classes, one a line, where the file that comes with CIFAR-10 lies beside the batches. */
async function cifarClassNames({ path, files }: Listing): Promise<string[] | undefined> {
  if (!files.includes(classNamesFile)) return undefined;
  const text = Buffer.from(await readFileBounded(join(path, classNamesFile), 4096)).toString('utf8');
  const names = text.split(/\r?\n/).filter((line) => line !== '');
  return names.length === 10 ? names : undefined;
}

async function findImages(listing: Listing, wanted: Wanted, notes: ImageNotes): Promise<FolderContent> {
  const { path } = listing;
  const splits = await splitFolders(listing);
  if (splits.size === 0) {
    if (wanted.split !== undefined) {
      const alone = listing.folders.find((name) => SPLITS.some((known) => SPLIT_FOLDERS[known].test(name)));
      const what =
        alone === undefined
          ? 'it has no folders train/, test/ and val/'
          : `its folder ${alone}/ lies beside other folders of images, so that all of them are classes`;
      throw noSplit(path, wanted.split, [], what);
    }
    return { ...(await collect(listing, await classFolders([listing]), wanted, notes)), split: undefined };
  }
  const split = chooseSplit(path, wanted.split, [...splits.keys()], notes);
  tellBeside('the splits', listing, new Set([...splits.values()].map((name) => `${name}/`)), notes);
  const listings = new Map<Split, Listing>();
  for (const [known, name] of splits) listings.set(known, await listImages(join(path, name)));
  // A class has the same number in every split, also where one of them has no image of it.
  const classes = await classFolders([...listings.values()]);
  return { ...(await collect(listings.get(split) as Listing, classes, wanted, notes)), split };
}

/**
 * The split folders by split. One alone beside other folders of images, as in bus/, car/, train/, is a class.
 * @throws PixelCnnError ERR_NO_SPLIT when two folders are the same split.
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

/** Names of the subfolders that hold images, in any of the listings, sorted by code units. */
async function classFolders(listings: readonly Listing[]): Promise<string[]> {
  const names = new Set<string>();
  for (const { path, folders } of listings) {
    for (const name of folders) if (!names.has(name) && (await hasImages(join(path, name)))) names.add(name);
  }
  return [...names].sort();
}

/** Images directly in the folder, else those of its class folders. */
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
    search.tell(listing, notes);
    const passed = folders.map((name) => `${name}/`);
    if (passed.length > 0)
      notes.tell(`passed over folders beside the images of ${path}: ${firstNames(passed)}`);
    return { kind: 'images', files: search.files, classes: undefined, classNames: undefined };
  }
  const deeper: string[] = [];
  for (const [label, name] of classNames.entries()) {
    if (!folders.includes(name)) continue;
    const inside = await listImages(join(path, name));
    deeper.push(...inside.folders.map((folder) => `${name}/${folder}/`));
    await search.add(inside, label);
  }
  search.tell(listing, notes);
  const { files, classes } = search;
  notes.tell(`classes by folder: ${classNames.length} (${firstNames(classNames, 10)})`);
  const others = folders.filter((name) => !classNames.includes(name)).map((name) => `${name}/`);
  if (others.length > 0)
    notes.tell(
      `left out folders that are no classes, without images directly in them: ${firstNames(others)}`,
    );
  if (deeper.length > 0) notes.tell(`left out folders inside of classes: ${firstNames(deeper)}`);
  const present = new Set(classes.slice(wanted.offset));
  if (present.size < classNames.length) {
    const absent = classNames.filter((_, label) => !present.has(label));
    notes.tell(`no images of ${absent.length} of ${classNames.length} classes: ${firstNames(absent)}`);
  }
  return { kind: 'images', files, classes, classNames };
}
