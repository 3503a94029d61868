// Records the model's head: one op computes the logits, their softmax and the cross-entropy, and never stores the logits.
import { check } from '../errors.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** The sizes of a head, which computes channels * levels logits per pixel from c hidden channels. */
export interface HeadShape {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly channels: number;
  readonly levels: number;
}

/** The operands of a training step's head. `name` is that of its parameters. */
export interface HeadTraining {
  readonly name: string;
  /** The weights packed for the input gradient. */
  readonly packedBackward: Tensor;
}

/**
 * Records nats (N, float64), -log p of each image's levels. With `training` the same op also computes the gradients of the
 * mean of the nats over all dimensions: for the parameters, and for x (N, H, W, C).
 */
export function softmaxCrossEntropy(
  r: Recorder,
  label: string,
  shape: HeadShape,
  operands: { x: Tensor; packed: Tensor; bias: Tensor; level: Tensor },
  training?: HeadTraining,
): Tensor {
  const { x, packed, bias, level } = operands;
  const { n, h, w, c } = shape;
  const nats = r.tensor(`${label} nats`, [n], 'float64');
  const gradX = training === undefined ? null : r.activation(`${label} gradX`, [n, h, w, c]);
  const gradientOf = (part: string) =>
    training === undefined ? null : (r.options.gradients?.get(`${training.name}.${part}`) ?? null);
  r.emit({
    op: 'softmaxCrossEntropy',
    label,
    fields: {
      ...shape,
      precision: r.precisionNumber,
      x,
      packed,
      packedBackward: training?.packedBackward ?? null,
      bias,
      level,
      reluOutput: training !== undefined && r.isReluOutput(x) ? x : null,
      nats,
      gradX,
      gradWeight: gradientOf('weight'),
      gradBias: gradientOf('bias'),
    },
    result: gradX ?? nats,
    backward(gradients) {
      if (training === undefined || gradX === null) return;
      // The op writes these gradients itself. Asking for them notes that they are written.
      gradients.parameter(`${training.name}.weight`);
      gradients.parameter(`${training.name}.bias`);
      gradients.add(x, (sum) => {
        check(
          sum === null,
          'ERR_PROGRAM',
          () => `${label}: another op after the head reads what it predicts from`,
        );
        return gradX;
      });
    },
  });
  return nats;
}
