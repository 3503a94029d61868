// Records a step of Adam on all parameters at once, with clipping by global norm and a moving average of the weights.
import type { Recorder } from '../program/recorder.js';
import { elements, type Tensor } from '../program/tensor.js';

/** The tensors of the optimizer. Where no shape is given, there is one float32 for each parameter. */
export interface AdamOperands {
  gradients: Tensor;
  /** (8) learning rate, beta1, beta2, epsilon, weight decay, maximal norm or 0, EMA decay or 0, unused. */
  hyper: Tensor;
  /** (4, float64) gradient norm, steps taken, steps skipped, unused. */
  state: Tensor;
  parameters: Tensor;
  moment1: Tensor;
  moment2: Tensor;
  average: Tensor;
}

/**
 * Records one step of Adam, or of AdamW if there is weight decay. A step whose gradient is not finite is skipped and
 * counted.
 */
export function adam(r: Recorder, label: string, operands: AdamOperands): void {
  const { gradients, hyper, state, parameters, moment1, moment2, average } = operands;
  const count = elements(gradients.shape);
  r.emit({
    op: 'gradientNorm',
    label: `${label} gradient norm`,
    fields: { count, gradients, state },
    result: state,
  });
  r.emit({
    op: 'adam',
    label,
    fields: { count, gradients, hyper, state, parameters, moment1, moment2, average },
    result: parameters,
  });
}
