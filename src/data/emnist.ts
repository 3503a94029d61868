// Knows what is special about EMNIST: the names of its files, its labels, and that its images lie column by column.
import { check, PixelCnnError } from '../errors.js';
import type { ImageBatch } from './image-batch.js';

/** What the name of an IDX file of EMNIST says, such as emnist-letters-train-images-idx3-ubyte.gz. */
export interface EmnistName {
  /** One of the data sets that EMNIST consists of, such as `letters` or `balanced`. */
  readonly set: string;
  readonly split: 'train' | 'test';
  readonly content: 'images' | 'labels';
}

/** Returns what the name of a file says, or undefined if it is not that of an IDX file of EMNIST. */
export function emnistName(fileName: string): EmnistName | undefined {
  const [, set, split, content] = /^emnist-(.+)-(train|test)-(images|labels)/.exec(fileName) ?? [];
  return set === undefined ? undefined : ({ set, split, content } as EmnistName);
}

/** The name of the file that says which characters the labels of a set stand for. */
export function emnistMappingName(set: string): string {
  return `emnist-${set}-mapping.txt`;
}

/** A class of a set: its label in the files, and its characters, for instance A and a. The first is its name. */
export interface EmnistClass {
  readonly label: number;
  readonly characters: readonly string[];
}

/**
 * Parses a mapping file, whose lines are a label and the ASCII codes of its characters: `1 65 97` says that
 * label 1 is A or a. Returns the classes in the order of their labels.
 * @throws PixelCnnError DATASET_FORMAT if a line is anything else, or a label or name occurs twice.
 */
export function parseEmnistMapping(text: string, file: string): EmnistClass[] {
  const classes = text.split('\n').flatMap((line, i) => {
    const words = line.trim().split(/\s+/);
    if (words.length === 1 && words[0] === '') return [];
    const [label = 0, ...codes] = words.map((word) => (/^\d{1,3}$/.test(word) ? Number(word) : Number.NaN));
    const valid = label <= 255 && codes.length > 0 && codes.every((code) => code > 32 && code < 127);
    check(valid, 'DATASET_FORMAT', () => {
      const expected = 'a label up to 255 and the codes of ASCII characters';
      return `line ${i + 1} of ${file} is not ${expected}: ${JSON.stringify(line.slice(0, 60))}`;
    });
    return [{ label, characters: codes.map((code) => String.fromCharCode(code)) }];
  });
  check(classes.length > 0, 'DATASET_FORMAT', () => `${file} names no class`);
  classes.sort((a, b) => a.label - b.label);
  checkUnique(
    classes.map(({ label }) => String(label)),
    'label',
    file,
  );
  checkUnique(
    classes.map(({ characters }) => characters[0] as string),
    'class',
    file,
  );
  return classes;
}

function checkUnique(values: readonly string[], what: string, file: string): void {
  const twice = values.find((value, i) => values.indexOf(value) < i);
  check(twice === undefined, 'DATASET_FORMAT', () => `${file} has the ${what} ${twice} twice`);
}

/**
 * Replaces each label by the index of its class, so that labels count from 0 without gaps. The set `letters`
 * counts from 1 in its files. `labels` is changed in place.
 * @throws PixelCnnError IDX_LABEL_RANGE if a label is not among the classes.
 */
export function renumberEmnistLabels(
  labels: Uint8Array,
  classes: readonly EmnistClass[],
  files: { readonly labels: string; readonly mapping: string },
): void {
  const indices = new Map(classes.map(({ label }, index) => [label, index]));
  labels.forEach((label, i) => {
    const index = indices.get(label);
    if (index === undefined) {
      const message = `label ${i} is ${label} in ${files.labels}, and ${files.mapping} has no such label`;
      throw new PixelCnnError('IDX_LABEL_RANGE', message);
    }
    labels[i] = index;
  });
}

/** Turns images that lie column by column into images of rows. Their data are changed in place. */
export function transposeImages({ data, count, height, width, channels }: ImageBatch): ImageBatch {
  const size = height * width * channels;
  const columns = new Uint8Array(size);
  for (let n = 0; n < count; ++n) {
    const image = data.subarray(n * size, (n + 1) * size);
    columns.set(image);
    // The file calls the number of columns the height.
    for (let x = 0; x < height; ++x) {
      for (let y = 0; y < width; ++y) {
        for (let c = 0; c < channels; ++c) {
          image[(y * height + x) * channels + c] = columns[(x * width + y) * channels + c] as number;
        }
      }
    }
  }
  return { data, count, height: width, width: height, channels };
}
