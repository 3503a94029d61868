// Defines the rows of the gate and its gradient in the table of tested ops.
import { gatedActivation, gatedActivationBackward } from '../../../src/ops/gated-activation.js';
import type { OpCase, OpRow, RegionCase, TestTensor } from '../../helpers/op-row.js';
import type { TestRandom } from '../../helpers/random.js';
import { plusCondition } from '../../oracle/condition.js';
import { gateBackward, gateForward } from '../../oracle/gate.js';
import { conditionFields, drawCondition } from './conditions.js';
import { tensor } from './convolutions.js';
import { pixelwiseRegion } from './pixelwise-region.js';

/** Draws the values before a gate: some near 0, where tanh must not cancel, and some where both halves saturate. */
function drawHalves(random: TestRandom, shape: readonly number[]): TestTensor {
  const drawn = tensor(random, shape);
  const values = Float32Array.from(drawn.values, (value) => value * random.pick([1, 1, 4, 1e-3, 30]));
  return { ...drawn, values };
}

/** Draws the operands of a gate: without a condition in every third case. */
function drawGate(random: TestRandom, index: number) {
  const images = { n: random.int(1, 3), h: random.int(1, 6), w: random.int(1, 6) };
  const { n, h, w } = images;
  const c = random.int(3, 40);
  const x = drawHalves(random, [n, h, w, 2 * c]);
  const condition = index % 3 === 0 ? null : drawCondition(random, images, 2 * c);
  const others: Record<string, TestTensor> = condition === null ? {} : { condition };
  return { images, c, x, others, text: JSON.stringify({ ...images, c, condition: condition?.shape }) };
}

export const gatedActivationRow: OpRow = {
  op: 'gatedActivation',
  cases: 96,
  draw(random, index): OpCase {
    const { images, x, others, text } = drawGate(random, index);
    return {
      text,
      inputs: { x, ...others },
      record: (r, given) => ({ y: gatedActivation(r, 'gate', given.x!, 1, given.condition ?? null) }),
      reference: (values) => ({ y: gateForward(plusCondition(values.x!, values.condition, images.n)) }),
      gradients: {
        record: (r, given) => gatedActivation(r, 'gate', given.x!, 1, given.condition ?? null),
        parameters: [],
        activations: ['x', ...Object.keys(others)],
        output: 'y',
      },
    };
  },
  drawRegion(random, index): RegionCase {
    const { images, c, x, others } = drawGate(random, index);
    return pixelwiseRegion(random, index, {
      op: 'gatedActivation',
      images,
      channels: c,
      channelGroups: random.pick([1, 3]),
      x,
      others,
      fields: (r, given) => ({ c, ...conditionFields(r, given, images, 2 * c) }),
    });
  },
};

export const gatedActivationBackwardRow: OpRow = {
  op: 'gatedActivationBackward',
  cases: 96,
  draw(random, index): OpCase {
    const { images, c, x, others, text } = drawGate(random, index);
    const { n, h, w } = images;
    return {
      text,
      inputs: { x, ...others, gradY: tensor(random, [n, h, w, c]) },
      record(r, given) {
        const operands = { x: given.x!, condition: given.condition ?? null, gradY: given.gradY! };
        return { gradX: gatedActivationBackward(r, 'gate gradient', operands) };
      },
      reference({ x: before, condition, gradY }) {
        return { gradX: gateBackward(plusCondition(before!, condition, n), gradY!) };
      },
    };
  },
};
