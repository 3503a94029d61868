// Reads the classes that commands are given by --label or with images, and refuses what a model cannot be given.
import type { ImageBatch } from '../data/image-batch.js';
import { PixelCnnError } from '../errors.js';
import { classReader } from '../models/class-labels.js';
import { conditionOf } from '../models/condition.js';
import { conditionText } from '../models/config.js';
import { conditionField } from '../models/given-condition.js';
import { z } from '../options.js';
import type { PixelCNN } from '../pixelcnn.js';
import { sampleSchema } from '../sample/options.js';
import { UsageError } from './failure.js';

/** A class of a model. */
export interface NamedClass {
  readonly label: number;
  /** Null if the model does not know the names of its classes. */
  readonly name: string | null;
}

/** The part of a model that says what it is given. */
type Conditioned = Pick<PixelCNN, 'config' | 'classNames'>;

/** The word that stands for no class. */
export const none = 'none';

/** The flag for classes. Its values stay texts, so that a class with the name 007 is found by it. */
export const labelOption = z.array(z.string()).min(1).optional();
export const guidanceOption = sampleSchema.shape.guidance.describe(
  'how strongly the condition counts: 1 as learnt, more exaggerates it, 0 draws without it; other values than 1 are for ' +
    'models trained with --condition-dropout',
);

/** Returns a class of the model with its name. */
export function namedClass({ classNames }: Conditioned, label: number): NamedClass {
  return { label, name: classNames?.[label] ?? null };
}

/** Says what condition a model has. */
export function hasText({ config }: Pick<Conditioned, 'config'>): string {
  const { condition } = config;
  return condition === undefined
    ? 'the model has no condition'
    : `the model is given ${conditionText(condition)}`;
}

/** Writes a class as its name or, if it has none, as its number. */
export function classText({ label, name }: NamedClass): string {
  return name ?? String(label);
}

/**
 * Returns what the texts of --label ask for: classes of the model or `none`, which stands alone.
 * @throws UsageError for a model without classes, and for classes that it does not have.
 */
export function readLabels(
  command: string,
  model: Conditioned,
  texts: readonly string[],
): readonly NamedClass[] | typeof none {
  const condition = conditionOf(model.config);
  if (condition?.kind !== 'classes') {
    const message = `${command}: --label ${texts[0]} is for a model of classes, ${hasText(model)}`;
    throw new UsageError(message, command, {
      remedy: 'leave --label out, or take a model that was trained with --classes',
    });
  }
  const { classNames: names } = model;
  if (texts.includes(none) && !names?.includes(none)) {
    if (!condition.none) {
      const message = `${command}: --label none needs a model that has learnt to go without a class, ${hasText(model)}`;
      throw new UsageError(message, command, { remedy: 'train one with --condition-dropout 0.1' });
    }
    if (texts.length === 1) return none;
    const message = `${command}: --label none stands for no class and cannot stand with others`;
    throw new UsageError(message, command, { remedy: 'give it alone, in a command of its own' });
  }
  const read = classReader(`${command}: --label`, { count: condition.size, names });
  return texts.map((text) => {
    try {
      return namedClass(model, read(text));
    } catch (cause) {
      if (!(cause instanceof PixelCnnError)) throw cause;
      const { message, remedy } = cause;
      throw new UsageError(message, command, { remedy: remedy ?? 'give one of these', cause });
    }
  });
}

/**
 * Checks that a model can be given what a command that draws has for it.
 * @throws UsageError for a guidance that needs a model trained also without conditions, for a class to draw without, and
 * for conditions that no flag can give.
 */
export function checkDrawable(
  command: string,
  { config }: Conditioned,
  { guidance, label }: { readonly guidance: number; readonly label?: readonly string[] | undefined },
): void {
  const condition = conditionOf(config);
  const has = hasText({ config });
  if (guidance !== 1 && condition?.none !== true) {
    throw new UsageError(
      `${command}: --guidance ${guidance} needs a model that has learnt to go without its condition, ${has}`,
      command,
      { remedy: 'leave --guidance out, or train a model with --classes and --condition-dropout 0.1' },
    );
  }
  if (guidance === 0 && label !== undefined && label[0] !== none) {
    const message = `${command}: --guidance 0 draws without a class, and --label ${label[0]} asks for one`;
    throw new UsageError(message, command, { remedy: 'leave one of them out' });
  }
  if (condition === undefined || condition.kind === 'classes' || guidance === 0) return;
  const field = conditionField[condition.kind];
  throw new UsageError(`${command}: ${has}, which the command line cannot give`, command, {
    remedy:
      `call model.${command}({ ${field} }) in a program` +
      (condition.none ? ', or draw without a condition: --guidance 0' : ''),
  });
}

/**
 * Checks that images bring the condition that a model is given; `data` is the text of the flag that names them.
 * @throws UsageError for images without labels, and for models of other conditions, which no file holds.
 */
export function checkLabelled(
  command: string,
  data: string,
  { config }: Conditioned,
  images: ImageBatch,
  remedy = 'put the images of each class into a folder of its own, e.g. photos/cat and photos/dog',
): void {
  const condition = conditionOf(config);
  if (condition === undefined) return;
  const field = conditionField[condition.kind];
  if (images[field] !== undefined) return;
  const text = conditionText(config.condition);
  throw new UsageError(
    `${command}: the model is given ${text}, and the images of ${data} have no ${field}`,
    command,
    {
      remedy:
        condition.kind === 'classes'
          ? remedy
          : `no file holds ${field}: in a program, give the images their \`${field}\``,
    },
  );
}

/**
 * Returns how many classes --classes gives a model: those of the training images if it says `auto`.
 * @throws UsageError for images without labels, and for a number that is too small for theirs.
 */
export function classesOf(
  classes: number | 'auto',
  data: string,
  { labels, classNames }: ImageBatch,
): number {
  if (labels === undefined) {
    throw new UsageError(`train: --classes ${classes}: the images of ${data} have no labels`, 'train', {
      remedy: 'put the images of each class into a folder of its own, e.g. photos/cat and photos/dog',
    });
  }
  const theirs = classNames?.length ?? Math.max(...new Set(labels)) + 1;
  if (classes === 'auto') return theirs;
  if (classes >= theirs) return classes;
  throw new UsageError(`train: --classes ${classes}: the images of ${data} have ${theirs} classes`, 'train', {
    remedy: `say --classes auto, or ${theirs} or more`,
  });
}

/**
 * Returns the columns of a grid in which the classes follow each other in turn: as many as keep every column to one
 * class, near to a square. Undefined if there are more classes than images.
 */
export function columnsInTurn(classes: number, count: number): number | undefined {
  if (classes > count) return undefined;
  return classes * Math.max(1, Math.floor(Math.sqrt(count) / classes));
}
