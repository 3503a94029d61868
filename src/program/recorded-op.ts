// Defines recorded ops: their fields by name, and the rule by which gradients flow back through an op.
import type { Tensor } from './tensor.js';

/** The fields of an op by the names that native/ops.h gives them. An optional tensor that is absent is null. */
export interface OpFields {
  readonly [name: string]: number | Tensor | null | readonly OpFields[];
}

/** An op with its operands, which a program runs. */
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
  /** Records the gradients of what the op reads. An op without this rule has none to pass back. */
  readonly backward?: (gradients: GradientSums) => void;
}

/** The gradients that are known so far, as the gradient rule of an op reads them and adds to them (gradients.ts). */
export interface GradientSums {
  /** Returns the gradient of the op's result, or undefined if the loss does not depend on it. */
  of(result: Tensor): Tensor | undefined;
  /**
   * Adds to the gradient of x. `record` records an op that writes its own part + `sum`, but 0 where `reluOutput` is
   * not positive, and returns what it writes. It is not called if x depends on no parameter.
   */
  add(x: Tensor, record: (sum: Tensor | null, reluOutput: Tensor | null) => Tensor): void;
  /** Adds a gradient that another tensor has too: the gradient of a sum is that of each of its terms. */
  share(x: Tensor, gradient: Tensor): void;
  /**
   * Returns the tensor that the gradient of a parameter is to be written to.
   * @throws PixelCnnError ERR_PROGRAM for a parameter that another op uses too.
   */
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
