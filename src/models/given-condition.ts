// Reads the condition that a call is given, by its options or with its images, and refuses one that does not fit the model.
import { checkArray } from '../data/check-array.js';
import type { ImageBatch } from '../data/image-batch.js';
import { check, PixelCnnError } from '../errors.js';
import { z } from '../options.js';
import { isFloat32Array, isUint8Array, isUint16Array } from '../realm.js';
import { type ClassLabel, classNumbers, classReader, type ModelClasses } from './class-labels.js';
import { type ConditionOfModel, conditionOf } from './condition.js';
import { type ConditionKind, conditionText, type NetworkSizes } from './config.js';

/** The classes of images, each by its number or name: one class for all images, or an array with that of each. */
export type Labels = number | string | readonly (number | string)[] | Uint8Array | Uint16Array;

const isLabel = (value: unknown) => typeof value === 'number' || typeof value === 'string';
const isLabels = (value: unknown) =>
  isLabel(value) ||
  isUint8Array(value) ||
  isUint16Array(value) ||
  (Array.isArray(value) && value.every(isLabel));
const isValues = (value: unknown) => value === 'none' || isFloat32Array(value);
const valuesText = "expected a Float32Array or 'none'";

/** The options by which a call gives a condition. Each beats what the images bring. */
export const conditionOptions = {
  /**
   * For a model with classes: the class of all images, or an array with that of each; a number or a name. `'none'`: no
   * class, for a model that has learnt images without one.
   */
  labels: z
    .custom<Labels>(isLabels, 'expected a class, by number or name, or an array of classes')
    .optional(),
  /** For a model with features: Float32Array [N, features], or `'none'`. */
  features: z.custom<Float32Array | 'none'>(isValues, valuesText).optional(),
  /** For a model with a map: Float32Array [N, H, W, channels], or `'none'`. */
  map: z.custom<Float32Array | 'none'>(isValues, valuesText).optional(),
};
/** The condition among the options of a call. */
export type ConditionOptions = z.output<z.ZodObject<typeof conditionOptions>>;

/** The conditions of images, one after the other, as programs take them. */
export interface GivenCondition {
  readonly kind: ConditionKind;
  /** A class number for each image, or `perImage` values for each. */
  readonly values: Uint32Array | Float32Array;
  readonly perImage: number;
  /** Whether this is no condition, for all images. */
  readonly none: boolean;
}

/** The part of a model that conditions are checked against. */
interface ConditionedModel {
  readonly config: Pick<NetworkSizes, 'condition'>;
  /** The names of the classes, if the model knows them. */
  readonly classNames: readonly string[] | undefined;
}

/** The names of the options, and of the fields of images, by which a condition is given. */
export type ConditionField = keyof typeof conditionOptions;

/** What images bring of conditions. */
export type ImageConditions = Pick<ImageBatch, 'labels' | 'features' | 'map' | 'classNames'>;

/** The images that a condition is for. `count` is undefined if the condition says how many there are. */
export interface ConditionedExtent {
  readonly count: number | undefined;
  readonly height: number;
  readonly width: number;
}

/** The option that gives a condition of each kind, and the field in which images bring it. */
export const conditionField = {
  classes: 'labels',
  features: 'features',
  map: 'map',
} as const satisfies Record<ConditionKind, keyof ConditionOptions>;

/**
 * Returns the condition of a call's images, from its options or else from the images; undefined for a model without one.
 * What is returned shares no memory with the caller.
 * @throws PixelCnnError ERR_CONDITION for a condition of another kind, none for a model that needs one, and one for a model
 * that has none; ERR_OUT_OF_RANGE or ERR_CLASS_NAME for a class that does not exist; ERR_BUFFER_SIZE for another length.
 */
export function givenCondition(
  caller: string,
  model: ConditionedModel,
  options: ConditionOptions,
  images: ImageConditions | undefined,
  extent: ConditionedExtent,
): GivenCondition | undefined {
  const condition = conditionOf(model.config);
  checkOptions(caller, condition, options);
  if (condition === undefined) return undefined;
  const { kind, size, none } = condition;
  const field = conditionField[kind];
  const asked = options[field];
  if (asked === 'none' && none) return noCondition(condition, extent.count ?? 1, extent);
  check(asked !== 'none' || model.classNames?.includes('none') === true, 'ERR_CONDITION', () => {
    return `${caller}: ${field}: the model is given ${textOf(condition)} and has not learnt to go without, got 'none'`;
  });
  if (asked === undefined && images?.[field] === undefined) throw missing(caller, condition, images);
  const where = asked === undefined ? `${caller}: images.${field}` : `${caller}: ${field}`;
  if (kind !== 'classes') {
    const values = (asked ?? images?.[field]) as Float32Array;
    return valuesOf(where, values, condition, extent);
  }
  const classes = { count: size, names: model.classNames };
  const values =
    asked === undefined
      ? classNumbers(where, images!.labels!, images!.classNames, classes)
      : askedClasses(where, asked as Labels, classes, extent);
  return { kind, values, perImage: 1, none: false };
}

/** Returns no condition for `count` images: the last row of a table of classes, or zeros. */
export function noCondition(
  condition: ConditionOfModel,
  count: number,
  extent: Omit<ConditionedExtent, 'count'>,
): GivenCondition {
  const { kind, size } = condition;
  if (kind === 'classes') return { kind, values: new Uint32Array(count).fill(size), perImage: 1, none: true };
  const perImage = valuesPerImage(condition, extent);
  return { kind, values: new Float32Array(count * perImage), perImage, none: true };
}

/** Copies the conditions at `indices`, in that order. */
export function selectConditions(given: GivenCondition, indices: ArrayLike<number>): GivenCondition {
  const { kind, perImage, none } = given;
  const selected = new (kind === 'classes' ? Uint32Array : Float32Array)(indices.length * perImage);
  for (let i = 0; i < indices.length; i += 1)
    selected.set(conditionSlice(given, indices[i]!, 1), i * perImage);
  return { kind, values: selected, perImage, none };
}

/** Returns the values of `count` conditions from number `first` on. They share their memory with the others. */
export function conditionSlice(
  { values, perImage }: GivenCondition,
  first: number,
  count: number,
): Uint32Array | Float32Array {
  return values.subarray(first * perImage, (first + count) * perImage);
}

/** Refuses options that give a condition which the model does not have. */
function checkOptions(
  caller: string,
  condition: ConditionOfModel | undefined,
  options: ConditionOptions,
): void {
  const own = condition && conditionField[condition.kind];
  for (const field of Object.values(conditionField)) {
    if (options[field] === undefined || field === own) continue;
    const has = condition === undefined ? 'has no condition' : `is given ${textOf(condition)}`;
    throw new PixelCnnError('ERR_CONDITION', `${caller}: the model ${has}, but \`${field}\` was passed`, {
      remedy:
        own === undefined
          ? `leave \`${field}\` out, or take a model that was created with a condition`
          : `pass \`${own}\` instead`,
    });
  }
}

function missing(
  caller: string,
  condition: ConditionOfModel,
  images: ImageConditions | undefined,
): PixelCnnError {
  const field = conditionField[condition.kind];
  const found = images === undefined ? `no \`${field}\` were passed` : `the images have no \`${field}\``;
  const instead = condition.none ? `, or \`${field}\`: 'none' for none` : '';
  const give = images === undefined ? `pass \`${field}\`` : `give each image its \`${field}\``;
  return new PixelCnnError(
    'ERR_CONDITION',
    `${caller}: the model is given ${textOf(condition)}, but ${found}`,
    {
      remedy: `${give}${instead}`,
    },
  );
}

/** Writes what a model is given, as in `10 classes`. */
function textOf({ kind, size }: ConditionOfModel): string {
  return conditionText({ [kind]: size });
}

/** Returns how many values the condition of an image has. */
function valuesPerImage(
  { kind, size }: ConditionOfModel,
  { height, width }: Omit<ConditionedExtent, 'count'>,
): number {
  return kind === 'map' ? height * width * size : size;
}

function valuesOf(
  where: string,
  given: Float32Array,
  condition: ConditionOfModel,
  extent: ConditionedExtent,
): GivenCondition {
  checkArray(given, where, ['Float32Array']);
  const { kind, size } = condition;
  const { height, width } = extent;
  const perImage = valuesPerImage(condition, extent);
  const count = extent.count ?? Math.max(1, Math.ceil(given.length / perImage));
  check(given.length === count * perImage, 'ERR_BUFFER_SIZE', () => {
    const shape = kind === 'map' ? `${count}x${height}x${width}x${size}` : `${count}x${size}`;
    return `${where} must hold ${shape} = ${count * perImage} values, got ${given.length}`;
  });
  const wrong = given.findIndex((value) => !Number.isFinite(value));
  check(wrong < 0, 'ERR_OUT_OF_RANGE', () => `${where} must be finite, got ${given[wrong]} at ${wrong}`);
  return { kind, values: given.slice(), perImage, none: false };
}

function askedClasses(
  where: string,
  asked: Labels,
  classes: ModelClasses,
  { count }: ConditionedExtent,
): Uint32Array {
  const read = classReader(where, classes);
  if (typeof asked === 'number' || typeof asked === 'string')
    return new Uint32Array(count ?? 1).fill(read(asked));
  if (!Array.isArray(asked)) checkArray(asked, where, ['Uint8Array', 'Uint16Array']);
  check(asked.length > 0 && (count === undefined || asked.length === count), 'ERR_BUFFER_SIZE', () => {
    const images = count === undefined ? 'each image' : `each of ${count} images`;
    return `${where} must hold a class for ${images}, got ${asked.length}`;
  });
  return Uint32Array.from(asked as ArrayLike<ClassLabel>, (label: ClassLabel) => read(label));
}
