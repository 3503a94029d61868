// Reads classes that are given by number or by name, and matches the classes of images with those of a model.
import { check, PixelCnnError } from '../errors.js';
import { show } from '../show.js';
import { suggestion } from '../suggestion.js';

/** A class by its number, or by its name if the model knows the names. */
export type ClassLabel = number | string;

/** The classes of a model. */
export interface ModelClasses {
  readonly count: number;
  /** The name of each class, if the model knows them. */
  readonly names: readonly string[] | undefined;
}

/**
 * Returns a function that reads the number of a class. A text is the name of a class or, if no class has this name, its
 * number. `where` begins the messages.
 * @throws PixelCnnError (the function) ERR_OUT_OF_RANGE for a number that no class has; ERR_CLASS_NAME for a name that no
 * class has.
 */
export function classReader(where: string, { count, names }: ModelClasses): (label: ClassLabel) => number {
  const byName = numbersByName(names);
  return (label) => {
    const named = typeof label === 'string' ? byName.get(label) : undefined;
    if (named !== undefined) return named;
    if (typeof label === 'string' && !/^\d+$/.test(label)) throw unknownName(where, label, { count, names });
    const number = Number(label);
    check(Number.isInteger(number) && number >= 0 && number < count, 'ERR_OUT_OF_RANGE', () => {
      const shown = names === undefined ? '' : ` (${listOf(names)})`;
      return `${where}: the classes of the model are 0 to ${count - 1}${shown}, got ${show(label)}`;
    });
    return number + 0; // turns -0 into 0
  };
}

function numbersByName(names: readonly string[] = []): ReadonlyMap<string, number> {
  return new Map(names.map((name, number) => [name, number]));
}

function unknownName(where: string, label: string, { count, names }: ModelClasses): PixelCnnError {
  const number = `give a number, 0 to ${count - 1}`;
  if (names === undefined) {
    const message = `${where}: the model does not know the names of its ${count} classes, got ${show(label)}`;
    return new PixelCnnError('ERR_CLASS_NAME', message, { remedy: number });
  }
  const message = `${where}: the model has no class ${show(label)}${suggestion(label, names)}; its classes are ${listOf(names)}`;
  return new PixelCnnError('ERR_CLASS_NAME', message, {
    remedy: `give one of the names, or ${number.slice(5)}`,
  });
}

const mostShown = 12;

/** Lists names as in `'cat', 'dog', …`. */
export function listOf(names: readonly string[]): string {
  const more = names.length > mostShown ? ', …' : '';
  return `${names.slice(0, mostShown).map(show).join(', ')}${more}`;
}

/**
 * Returns the numbers that a model gives to the classes of images. Where both know names, classes match by name, because a
 * folder that lacks a class, or has one more, counts the others otherwise.
 * @throws PixelCnnError ERR_OUT_OF_RANGE or ERR_CLASS_NAME for a class of an image that the model does not have.
 */
export function classNumbers(
  where: string,
  labels: ArrayLike<number>,
  theirs: readonly string[] | undefined,
  classes: ModelClasses,
): Uint32Array {
  const { names } = classes;
  const byName = numbersByName(names);
  const read = classReader(where, classes);
  const numberOf = (label: number) => {
    const name = theirs?.[label];
    if (name === undefined || names === undefined) return read(label);
    const found = byName.get(name);
    if (found !== undefined) return found;
    const message = `${where}: images are of the class ${show(name)}, which the model does not have; its classes are ${listOf(names)}`;
    throw new PixelCnnError('ERR_CLASS_NAME', message, {
      remedy: 'rename the class of the images, or leave these images out',
    });
  };
  const known = new Map<number, number>();
  return Uint32Array.from(labels, (label) => {
    const number = known.get(label) ?? numberOf(label);
    known.set(label, number);
    return number;
  });
}
