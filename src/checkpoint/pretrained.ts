// Finds the pretrained models that come with the package, and reads the file that a model's name or path means.
import { lstat } from 'node:fs/promises';
import { join } from 'node:path';
import { readFileBounded } from '../data/read-file.js';
import { packageRoot } from '../device/native-binary.js';
import { check, PixelCnnError } from '../errors.js';
import { errorCode } from '../realm.js';
import { show } from '../show.js';
import { suggestion } from '../suggestion.js';

/** The names of the pretrained models; models/README.md describes them. */
export const pretrainedNames = ['digits', 'fashion'] as const;
export type PretrainedName = (typeof pretrainedNames)[number];

/** Begins a name that means a pretrained model even where a file or folder is called like it. */
const prefix = 'pixelcnn:';
const listed = pretrainedNames.join(', ');

/** Writes the name of a pretrained model so that it means that model wherever it is read. */
export function fullName(name: PretrainedName): string {
  return prefix + name;
}

/** Writes a path so that it never means a pretrained model. */
export function asPath(path: string): string {
  return path.startsWith(prefix) ? `./${path}` : path;
}

/**
 * Returns the name of the pretrained model that `source` means, or undefined if it means a path: `pixelcnn:digits` is always
 * the pretrained model, `digits` only where no file or folder has this name.
 * @throws PixelCnnError ERR_NO_MODEL for a name after `pixelcnn:` that no pretrained model has.
 */
export async function pretrainedName(source: string): Promise<PretrainedName | undefined> {
  const isFull = source.startsWith(prefix);
  const name = isFull ? source.slice(prefix.length) : source;
  const known = pretrainedNames.find((one) => one === name);
  check(known !== undefined || !isFull, 'ERR_NO_MODEL', () => {
    return `no pretrained model is called ${show(name)}${suggestion(name, pretrainedNames)}, there are: ${listed}`;
  });
  return isFull || known === undefined || (await isAbsent(source)) ? known : undefined;
}

/**
 * Whether nothing has this name. A link whose target is missing, or a folder that cannot be searched, may stand for a model
 * of the user, so that reading it must fail instead of giving another model.
 */
async function isAbsent(path: string): Promise<boolean> {
  return lstat(path).then(
    () => false,
    (error) => errorCode(error) === 'ENOENT',
  );
}

/** Says how to get the pretrained model that `source` would name, if it were not the name of a file or folder too. */
export function pretrainedHint(source: string): string {
  const name = pretrainedNames.find((one) => one === source);
  return name === undefined ? '' : `; the pretrained model is '${fullName(name)}'`;
}

/** Returns the path of a pretrained model's file. */
export function pretrainedFile(name: PretrainedName): string {
  return join(packageRoot, 'models', `${name}.safetensors`);
}

/** A model's file as it was read, and what to call it in messages. */
export interface ReadModelFile {
  readonly bytes: Uint8Array;
  /** The path as it was given, or the full name of a pretrained model. */
  readonly name: string;
}

/**
 * Reads the file of a model, which `source` names by its path or as a pretrained model.
 * @throws PixelCnnError as {@link pretrainedName} and readFileBounded do, with a remedy where no file can be read.
 */
export async function readModelFile(source: string): Promise<ReadModelFile> {
  const name = await pretrainedName(source);
  const path = name === undefined ? source : pretrainedFile(name);
  try {
    return { bytes: await readFileBounded(path), name: name === undefined ? source : fullName(name) };
  } catch (cause) {
    if (!(cause instanceof PixelCnnError) || !/^(ENOENT|ERR_NOT_A_FILE)$/.test(cause.code)) throw cause;
    const remedy =
      name === undefined
        ? `give a model file that exists, or the name of a pretrained model: ${listed}${suggestion(source, pretrainedNames)}${pretrainedHint(source)}`
        : 'install pixelcnn again; where a program is bundled, leave the package out of the bundle';
    throw new PixelCnnError(cause.code, cause.message, { remedy, cause });
  }
}
