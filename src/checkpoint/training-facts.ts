// Writes and reads what the metadata of a model file say about the model's training, each a text under its own key.
import { type ImageValues, imageValues } from '../data/image-batch.js';
import { type Protocol, protocols } from '../data/protocol.js';
import { check, PixelCnnError } from '../errors.js';
import { maxImageSide, type PixelCnnConfig } from '../models/config.js';
import { parseJsonObject } from './header-json.js';

const maxObjectLength = 4096;
/** The most characters of the names of classes in a file, as JSON. */
export const maxClassNamesLength = 2 ** 22;
const imageSizeKey = 'pixelcnn.imageSize';
const valuesKey = 'pixelcnn.values';
const classNamesKey = 'pixelcnn.classNames';
const protocolKey = 'pixelcnn.protocol';
const stepKey = 'pixelcnn.step';

/** What a file says about the training of its model. What is not known is undefined. */
export interface TrainingFacts {
  readonly imageSize: { readonly height: number; readonly width: number } | undefined;
  /** What the numbers of the training images are: bytes or levels. */
  readonly values?: ImageValues | undefined;
  /** The names of the classes of a model with classes. */
  readonly classNames?: readonly string[] | undefined;
  /** How the training images became levels. */
  readonly protocol?: Protocol | undefined;
  /** The number of steps that the weights were trained for. */
  readonly step?: number | undefined;
}

/** Returns the metadata that say these facts. */
export function writeFacts(facts: TrainingFacts): Record<string, string> {
  const { imageSize, values, classNames, protocol, step } = facts;
  return {
    ...(imageSize && { [imageSizeKey]: JSON.stringify(imageSizeOf({ ...imageSize }, 'model')) }),
    ...(values && { [valuesKey]: values }),
    ...(classNames && { [classNamesKey]: JSON.stringify(classNames) }),
    ...(protocol && { [protocolKey]: protocol }),
    ...(step !== undefined && { [stepKey]: String(step) }),
  };
}

/** Reads these facts from metadata. @throws PixelCnnError CKPT_CONFIG for one that is malformed. */
export function readFacts(
  metadata: Readonly<Record<string, string>>,
  config: PixelCnnConfig,
  where: string,
): TrainingFacts {
  const size = metadata[imageSizeKey];
  return {
    imageSize: size === undefined ? undefined : imageSizeOf(metadataObject(size, imageSizeKey, where), where),
    values: valuesOf(metadata[valuesKey], where),
    classNames: classNamesOf(metadata[classNamesKey], config, where),
    protocol: protocolOf(metadata[protocolKey], where),
    step: stepOf(metadata[stepKey], where),
  };
}

/** Parses a JSON object in the metadata. @throws PixelCnnError CKPT_CONFIG for one that is malformed or too long. */
export function metadataObject(
  text: string,
  key: string,
  where: string,
  most = maxObjectLength,
): Record<string, unknown> {
  check(text.length <= most, 'CKPT_CONFIG', () => {
    return `${where}: metadata '${key}' has ${text.length} characters, limit ${most}`;
  });
  try {
    return parseJsonObject(text, '');
  } catch (cause) {
    throw new PixelCnnError('CKPT_CONFIG', `${where}: metadata '${key}': ${(cause as Error).message}`, {
      cause,
    });
  }
}

function imageSizeOf(
  { height, width }: Readonly<Record<string, unknown>>,
  where: string,
): { height: number; width: number } {
  const valid = [height, width].every(
    (side) => Number.isInteger(side) && Number(side) >= 1 && Number(side) <= maxImageSide,
  );
  check(
    valid,
    'CKPT_CONFIG',
    () => `${where}: image size ${String(height)}x${String(width)} is out of range`,
  );
  return { height: Number(height), width: Number(width) };
}

function valuesOf(text: string | undefined, where: string): ImageValues | undefined {
  const values = imageValues.find((known) => known === text);
  check(text === undefined || values !== undefined, 'CKPT_CONFIG', () => {
    return `${where}: metadata '${valuesKey}' must be 'bytes' or 'levels', got ${JSON.stringify(text)}`;
  });
  return values;
}

/** Reads the names of classes, at most as many as the model has. */
function classNamesOf(
  text: string | undefined,
  { condition }: PixelCnnConfig,
  where: string,
): readonly string[] | undefined {
  if (text === undefined) return undefined;
  const classes = condition?.classes ?? 0;
  // JSON objects are all that the parser of headers reads, so the list becomes the field of one.
  const { names, ...others } = metadataObject(
    `{"names":${text}}`,
    classNamesKey,
    where,
    maxClassNamesLength + 10,
  );
  const isList = Array.isArray(names) && names.every((name) => typeof name === 'string');
  const isAlone = Object.keys(others).length === 0;
  check(
    isList && isAlone && names.length <= classes && new Set(names).size === names.length,
    'CKPT_CONFIG',
    () => {
      return `${where}: metadata '${classNamesKey}' must be at most ${classes} different names, one for each class of the model`;
    },
  );
  return names;
}

function protocolOf(text: string | undefined, where: string): Protocol | undefined {
  const protocol = protocols.find((known) => known === text);
  check(text === undefined || protocol !== undefined, 'CKPT_CONFIG', () => {
    return `${where}: metadata '${protocolKey}' must be one of ${protocols.join(', ')}, got ${JSON.stringify(text?.slice(0, 40))}`;
  });
  return protocol;
}

function stepOf(text: string | undefined, where: string): number | undefined {
  const step = Number(text);
  const valid = text === undefined || (/^\d{1,16}$/.test(text) && Number.isSafeInteger(step));
  check(valid, 'CKPT_CONFIG', () => {
    return `${where}: metadata '${stepKey}' must be a number of steps, got ${JSON.stringify(text?.slice(0, 40))}`;
  });
  return text === undefined ? undefined : step;
}
