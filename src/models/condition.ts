// Describes the conditions of models: their kinds and sizes, and the tensors in which programs are given them.
import { cast } from '../ops/cast.js';
import type { Recorder } from '../program/recorder.js';
import type { Images } from '../program/sampler-pass.js';
import { describeTensor, type Tensor } from '../program/tensor.js';
import { type ConditionKind, conditionKinds, type NetworkSizes } from './config.js';

/** The condition of a model: its kind, the number of classes, features or channels, and whether it may be left out. */
export interface ConditionOfModel {
  readonly kind: ConditionKind;
  readonly size: number;
  readonly none: boolean;
}

/** Returns the condition of a configuration; undefined if the model has none. */
export function conditionOf({ condition }: Pick<NetworkSizes, 'condition'>): ConditionOfModel | undefined {
  const kind = conditionKinds.find((name) => condition?.[name] !== undefined);
  if (condition === undefined || kind === undefined) return undefined;
  return { kind, size: condition[kind]!, none: condition.none === true };
}

/** Returns what the layers of a network are given. "None" is one more class; for features and maps it is all zeros. */
export function shapeOfCondition(
  config: Pick<NetworkSizes, 'condition'>,
): { readonly kind: 'labels' | 'values'; readonly size: number } | undefined {
  const condition = conditionOf(config);
  if (condition === undefined) return undefined;
  const { kind, size, none } = condition;
  return kind === 'classes' ? { kind: 'labels', size: size + (none ? 1 : 0) } : { kind: 'values', size };
}

/** Describes the tensor that a program is given for the conditions of these images; null for a model without a condition. */
export function describeCondition(
  config: Pick<NetworkSizes, 'condition'>,
  { n, h, w }: Images,
): Tensor | null {
  const condition = conditionOf(config);
  if (condition === undefined) return null;
  const { kind, size } = condition;
  if (kind === 'classes') return describeTensor('labels', [n], 'uint32');
  return describeTensor(kind, kind === 'map' ? [n, h, w, size] : [n, 1, 1, size], 'float32');
}

/** Describes that tensor as an input, which every run of the program fills. */
export function conditionInput(
  r: Recorder,
  config: Pick<NetworkSizes, 'condition'>,
  images: Images,
): Tensor | null {
  const condition = describeCondition(config, images);
  if (condition !== null) r.fill(condition);
  return condition;
}

/** Records what makes a described condition into what layers read. */
export function recordCondition(r: Recorder, condition: Tensor | null): Tensor | null {
  return condition === null || condition.dtype === 'uint32' ? condition : cast(r, condition.name, condition);
}
