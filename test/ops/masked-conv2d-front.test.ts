// Tests the masked convolution at the wavefront: it has the same bits as the convolution of whole images.
import { describe, expect, it } from 'vitest';
import { frontSteps, paddedShape } from '../../src/ops/front.js';
import { type MaskedConv2dShape, maskedConv2dForward } from '../../src/ops/masked-conv2d.js';
import { maskedConv2dFront } from '../../src/ops/masked-conv2d-front.js';
import { nextFront } from '../../src/ops/sample.js';
import { expectSameBits } from '../helpers/close.js';
import { testDevice } from '../helpers/models.js';
import { fed, packed, runOps, withBorder } from '../helpers/ops.js';
import { withSeed } from '../helpers/random.js';

const device = testDevice();

describe('maskedConv2dFront', () => {
  it('has the bits of the direct convolution and leaves the border alone, 60 random shapes', async () => {
    await withSeed(71, async (random, at) => {
      for (let index = 0; index < 60; index += 1) {
        const kernelSize = random.pick([1, 3, 5, 7]);
        const channelGroups = random.pick([1, 1, 3]);
        const pad = (kernelSize - 1) / 2 + random.int(0, 2);
        const front = { pad, slope: pad + 1 };
        const g: MaskedConv2dShape = {
          n: random.int(1, 4),
          h: random.int(1, 9),
          w: random.int(1, 9),
          c: channelGroups + random.int(0, 33),
          k: channelGroups + random.int(0, 33),
          kernelSize,
          maskType: random.pick(['A', 'B']),
          channelGroups,
          algorithm: 'direct',
        };
        at(`case ${index}: ${JSON.stringify({ ...g, pad })}`);
        const size = { ...g, pad };
        const x = random.normals(g.n * g.h * g.w * g.c);
        const inputs = [
          x,
          withBorder(size, g.c, x),
          random.normals(g.k * g.c * kernelSize ** 2),
          random.normals(g.k),
        ];
        const steps = frontSteps(front, g.h, g.w);
        const fronts = random.pick([1, 2, random.int(1, steps + 1)]);
        const outputs = await runOps(
          device(),
          inputs,
          (r) => {
            const plain = fed(r, 'x', [g.n, g.h, g.w, g.c]);
            const bordered = fed(r, 'bordered', paddedShape(front, g.n, g.h, g.w, g.c));
            const weight = fed(r, 'weight', [g.k, g.c, kernelSize, kernelSize]);
            const bias = fed(r, 'bias', [g.k]);
            const position = r.state('position', [1], 'int32');
            const y = r.state('y', paddedShape(front, g.n, g.h, g.w, g.k));
            const filter = packed(r, g, 'forward', weight);
            const operands = { x: bordered, packed: filter, bias, position, y };
            for (let ahead = 0; ahead < fronts; ahead += 1)
              for (let group = 0; group < channelGroups; group += 1)
                maskedConv2dFront(r, `front ${group}`, g, front, group, ahead, operands);
            nextFront(r, 'next', fronts, position);
            r.output(y);
            r.output(position);
            const full = { x: plain, packed: filter, bias, relu: true };
            r.output(maskedConv2dForward(r, 'full', g, full));
          },
          // Further positions are beyond the image and do nothing.
          Math.ceil(steps / fronts) + random.int(0, 3),
        );
        const [y, , full] = outputs.map((buffer) => new Float32Array(buffer));
        expectSameBits('y', y!, withBorder(size, g.k, full!));
        expect(new Int32Array(outputs[1]!)[0]).toBeGreaterThanOrEqual(steps);
      }
    });
  });
});
