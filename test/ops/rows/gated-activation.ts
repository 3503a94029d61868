// Defines the rows of the gate and its gradient in the table of tested ops.
import { gatedActivation, gatedActivationBackward } from '../../../src/ops/gated-activation.js';
import { paddedShape } from '../../../src/program/front.js';
import type { Recorder } from '../../../src/program/recorder.js';
import { SamplerCanvas, wholeImages } from '../../../src/program/sampler-pass.js';
import { describeTensor, type Tensor } from '../../../src/program/tensor.js';
import type { OpCase, OpRow, RegionCase, TestTensor } from '../../helpers/op-row.js';
import { withBorder } from '../../helpers/ops.js';
import type { TestRandom } from '../../helpers/random.js';
import { gateBackward, gateForward } from '../../oracle/gate.js';
import { tensor } from './convolutions.js';

/** Draws the values before a gate: some near 0, where tanh must not cancel, and some where both halves saturate. */
function drawHalves(random: TestRandom, shape: readonly number[]): TestTensor {
  const drawn = tensor(random, shape);
  const values = Float32Array.from(drawn.values, (value) => value * random.pick([1, 1, 4, 1e-3, 30]));
  return { ...drawn, values };
}

const drawSizes = (random: TestRandom) => ({
  n: random.int(1, 3),
  h: random.int(1, 6),
  w: random.int(1, 6),
  c: random.int(3, 40),
});

export const gatedActivationRow: OpRow = {
  op: 'gatedActivation',
  cases: 64,
  draw(random): OpCase {
    const { n, h, w, c } = drawSizes(random);
    return {
      text: JSON.stringify({ n, h, w, c }),
      inputs: { x: drawHalves(random, [n, h, w, 2 * c]) },
      record: (r, { x }) => ({ y: gatedActivation(r, 'gate', x!, 1) }),
      reference: ({ x }) => ({ y: gateForward(x!) }),
      gradients: {
        record: (r, { x }) => gatedActivation(r, 'gate', x!, 1),
        parameters: [],
        activations: ['x'],
        output: 'y',
      },
    };
  },
  drawRegion(random, index): RegionCase {
    const { n, h, w, c } = drawSizes(random);
    const channelGroups = random.pick([1, 3]);
    const pad = random.int(0, 3);
    const row = index % 2 === 0;
    const slope = row ? w + random.int(0, 1) : random.int(1, 3);
    const front = { pad, slope };
    const canvas = new SamplerCanvas(
      { n, h, w },
      front,
      describeTensor('unused', [1], 'float32'),
      channelGroups,
    );
    const x = drawHalves(random, [n, h, w, 2 * c]);
    const padded = paddedShape(front, n, h, w, 2 * c);
    const bordered: TestTensor = {
      ...x,
      shape: padded,
      values: withBorder({ n, h, w, pad }, 2 * c, x.values),
    };
    const emit = (r: Recorder, x: Tensor, y: Tensor, region: object, position: Tensor | null) => {
      const sizes = { n, h, w, c, channelGroups, precision: r.precisionNumber };
      const fields = { ...sizes, ...region, x, position, y };
      r.emit({ op: 'gatedActivation', label: 'gate', fields, result: y });
      return y;
    };
    return {
      text: JSON.stringify({ n, h, w, c, channelGroups, ...front, row }),
      canvas,
      inputs: { x, 'bordered x': bordered },
      whole: (r, given) => emit(r, given.x!, r.activation('y', [n, h, w, c]), wholeImages, null),
      region(r, given) {
        const y = r.activation('y', paddedShape(front, n, h, w, c));
        const groups =
          row || index % 4 === 1 ? [-1] : Array.from({ length: channelGroups }, (_, group) => group);
        for (const group of groups) {
          const region = { pixels: row ? 2 : 1, pad, slope, ahead: 0, group };
          emit(r, given['bordered x']!, y, region, canvas.position);
        }
        return y;
      },
      steps: w + slope * (h - 1) + random.int(0, 3),
    };
  },
};

export const gatedActivationBackwardRow: OpRow = {
  op: 'gatedActivationBackward',
  cases: 64,
  draw(random): OpCase {
    const { n, h, w, c } = drawSizes(random);
    return {
      text: JSON.stringify({ n, h, w, c }),
      inputs: { x: drawHalves(random, [n, h, w, 2 * c]), gradY: tensor(random, [n, h, w, c]) },
      record: (r, { x, gradY }) => ({ gradX: gatedActivationBackward(r, 'gate gradient', x!, gradY!) }),
      reference: ({ x, gradY }) => ({ gradX: gateBackward(x!, gradY!) }),
    };
  },
};
