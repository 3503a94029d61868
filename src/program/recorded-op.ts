// Defines what a recorded op is: its fields by name, and the rule by which gradients flow back through it.
import type { Tensor } from './tensor.js';

/** The fields of an op by the names that native/ops.h gives them. An optional tensor that is absent is null. */
export interface OpFields {
  readonly [name: string]: number | Tensor | null | readonly OpFields[];
}

/** One recorded op. */
export interface RecordedOp {
  /** The op's name in the op table, e.g. `maskedConv2d`. */
  readonly op: string;
  /** The name that traces and errors show, e.g. `net.2 forward`. */
  readonly label: string;
  readonly fields: OpFields;
  /** The op's main result, whose shape traces show and whose gradient {@link backward} starts from. */
  readonly result?: Tensor;
  /** Whether the result went through a ReLU. Its gradient is then 0 where the result is not positive. */
  readonly relu?: boolean;
  /** Records the gradients of what the op reads. Nothing flows back through an op that has no such rule. */
  readonly backward?: (gradients: GradientSums) => void;
}

/** What the gradient rule of an op may ask for while gradients are recorded (gradients.ts). */
export interface GradientSums {
  /** The gradient of the op's result; undefined if the loss does not depend on it. */
  of(result: Tensor): Tensor | undefined;
  /**
   * Adds to the gradient of x. `record` writes own part + `sum`, and 0 where `reluOutput` is not positive. It is not called
   * if x depends on no parameter.
   */
  add(x: Tensor, record: (sum: Tensor | null, reluOutput: Tensor | null) => Tensor): void;
  /** Adds a gradient that is there already, as that of a sum is for each of its terms. */
  pass(x: Tensor, gradient: Tensor): void;
  /** The place for the gradient of a parameter. Only one op may use a parameter. */
  parameter(name: string): Tensor;
}

/** Returns the tensors among the fields of an op, in order. */
export function operandsOf({ fields }: { readonly fields: OpFields }): Tensor[] {
  return Object.values(fields).flatMap((value) => {
    if (value === null || typeof value === 'number') return [];
    return isList(value) ? value.flatMap((item) => operandsOf({ fields: item })) : [value];
  });
}

function isList(value: Tensor | readonly OpFields[]): value is readonly OpFields[] {
  return Array.isArray(value);
}
