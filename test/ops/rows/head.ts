// Defines the rows of the head in the table of tested ops: the cross-entropy with its gradients, and the sampler's draws.
import { type NamedFilter, packedFilter } from '../../../src/ops/masked-conv2d.js';
import { type HeadShape, softmaxCrossEntropy } from '../../../src/ops/softmax-cross-entropy.js';
import { paddedShape } from '../../../src/program/front.js';
import type { Recorder } from '../../../src/program/recorder.js';
import type { Tensor } from '../../../src/program/tensor.js';
import { gradientScale } from '../../helpers/gradient-scale.js';
import type { OpCase, OpRow, TestTensor } from '../../helpers/op-row.js';
import { headFilter, packed, withBorder, withoutBorder } from '../../helpers/ops.js';
import type { TestRandom } from '../../helpers/random.js';
import { type ConvShape, convBackward, convForward } from '../../oracle/masked-conv2d.js';
import { crossEntropy, drawLevel, softmax } from '../../oracle/network.js';

const filterOf = (c: number, channels: number, levels: number): NamedFilter => {
  return { ...headFilter(c, channels, levels), name: 'head', bias: true };
};

/** Records the op on given tensors: without gradients, or with those that start a training step. */
export function recordHead(
  r: Recorder,
  shape: HeadShape,
  given: { x: Tensor; weight: Tensor; bias: Tensor; level: Tensor },
  { training, throughRelu }: { training: boolean; throughRelu: boolean },
): Readonly<Record<string, Tensor>> {
  const { n, h, w, c, channels, levels } = shape;
  const { x, weight, bias, level } = given;
  const filter = headFilter(c, channels, levels);
  const nats = r.tensor('nats', [n], 'float64');
  const gradients = training && {
    gradX: r.activation('gradX', [n, h, w, c]),
    gradWeight: r.tensor('gradWeight', weight.shape),
    gradBias: r.tensor('gradBias', bias.shape),
  };
  r.emit({
    op: 'softmaxCrossEntropy',
    label: 'head',
    fields: {
      ...shape,
      precision: r.precisionNumber,
      x,
      packed: packed(r, filter, 'forward', weight),
      packedBackward: training ? packed(r, filter, 'backward', weight) : null,
      bias,
      level,
      reluOutput: throughRelu ? x : null,
      nats,
      ...(gradients || { gradX: null, gradWeight: null, gradBias: null }),
    },
    result: nats,
  });
  return { nats, ...gradients };
}

function parametersOf(random: TestRandom, { c, k }: NamedFilter): Record<string, TestTensor> {
  return {
    'head.weight': { shape: [k, c, 1, 1], type: 'float32', values: random.normals(k * c, 0.7) },
    'head.bias': { shape: [k], type: 'float32', values: random.normals(k, 0.7) },
  };
}

export const softmaxCrossEntropyRow: OpRow = {
  op: 'softmaxCrossEntropy',
  cases: 100,
  draw(random, index): OpCase {
    const channels = random.pick([1, 1, 3]);
    const levels = random.pick([2, 3, 8, 17, ...(index % 10 === 0 ? [256] : [])]);
    const [n, h, w] = [random.int(1, 3), random.int(1, 4), random.int(1, 4)];
    const c = channels + random.int(0, 12);
    const filter = filterOf(c, channels, levels);
    const training = index % 3 !== 2;
    const throughRelu = training && index % 2 === 0;
    const x = random.normals(n * h * w * c).map((value) => (throughRelu ? Math.max(value, 0) : value));
    const target = Uint8Array.from({ length: n * h * w * channels }, () => random.int(0, levels - 1));
    const inputs: Record<string, TestTensor> = {
      x: { shape: [n, h, w, c], type: 'activation', values: x },
      ...parametersOf(random, filter),
      level: { shape: [n, h, w, channels], type: 'uint8', values: target },
    };
    const shape = { n, h, w, c, channels, levels };
    const conv: ConvShape = { n, h, w, c, k: channels * levels, size: 1, mask: 'B', groups: channels };
    return {
      text: JSON.stringify({ ...shape, training, throughRelu }),
      inputs,
      record(r, { x: features, level, ...parameters }) {
        const [weight, bias] = [parameters['head.weight']!, parameters['head.bias']!];
        const given = { x: features!, weight, bias, level: level! };
        return recordHead(r, shape, given, { training, throughRelu });
      },
      reference(arrays, precision) {
        const logits = convForward(conv, arrays.x!, arrays['head.weight']!, arrays['head.bias']!);
        const nats = crossEntropy(logits, arrays.level!, n, levels);
        if (!training) return { nats };
        const gradLogits = new Float64Array(logits.length);
        Array.from(arrays.level!).forEach((level, i) => {
          softmax(logits, i * levels, levels).forEach((p, v) => {
            gradLogits[i * levels + v] = (p - (v === level ? 1 : 0)) / target.length;
          });
        });
        const back = convBackward(conv, arrays.x!, arrays['head.weight']!, gradLogits);
        const scale = gradientScale(precision, n * h * w);
        return {
          nats,
          gradX: back.gradInput.map((value, i) => (throughRelu && arrays.x![i]! <= 0 ? 0 : value * scale)),
          gradWeight: back.gradWeight,
          gradBias: back.gradBias,
        };
      },
      gradients: {
        record(r, given) {
          const forward = packedFilter(r, filter, 'direct', 'forward');
          const packedBackward = packedFilter(r, filter, 'direct', 'backward');
          const operands = {
            x: given.x!,
            packed: forward,
            bias: r.parameter('head.bias'),
            level: given.level!,
          };
          return softmaxCrossEntropy(r, 'head', shape, operands, { name: 'head', packedBackward });
        },
        parameters: ['head.weight', 'head.bias'],
        activations: ['x'],
        output: 'nats',
        loss: true,
      },
    };
  },
};

export const sampleFrontRow: OpRow = {
  op: 'sampleFront',
  cases: 60,
  draw(random, index): OpCase {
    const channels = random.pick([1, 1, 3]);
    const levels = random.pick([2, 3, 4]);
    const [n, h, w, pad] = [random.int(1, 2), random.int(1, 4), random.int(1, 4), random.int(0, 2)];
    const c = channels + random.int(0, 10);
    const filter = filterOf(c, channels, levels);
    const slope = pad + 1;
    const size = { n, h, w, pad };
    const temperature = random.pick([1, 0.5, 0]);
    const withKnown = index % 2 === 0;
    const guidance = index % 3 === 0 ? random.pick([0, 0.5, 1, 2.5]) : null;
    // With guidance, the second half of the images are the first under no condition.
    const images = guidance === null ? n : 2 * n;
    const all = { ...size, n: images };
    const bordered = withBorder(all, c, random.normals(images * h * w * c));
    const conv: ConvShape = {
      n: images,
      h,
      w,
      c,
      k: channels * levels,
      size: 1,
      mask: 'B',
      groups: channels,
    };
    const parameters = parametersOf(random, filter);
    const padded = (depth: number) => paddedShape({ pad, slope }, images, h, w, depth);
    const logitsOf = (x: ArrayLike<number>, weight: ArrayLike<number>, bias: ArrayLike<number>) => {
      const logits = convForward(conv, withoutBorder(all, c, x), weight, bias);
      if (guidance === null) return logits;
      const none = logits.subarray(logits.length / 2);
      return none.map((value, i) => value + guidance * (logits[i]! - value));
    };
    // No uniform lies so near to a step of the distribution that rounding in any precision decides.
    const logits = logitsOf(bordered, parameters['head.weight']!.values, parameters['head.bias']!.values);
    const uniforms = Float32Array.from({ length: n * h * w * channels }, (_, at) => {
      for (let tries = 0; tries < 1000; tries += 1) {
        const u = Math.fround(random.uniform());
        if (drawLevel(logits, at * levels, levels, u, temperature).margin > 0.04) return u;
      }
      return 0;
    });
    const inputs: Record<string, TestTensor> = {
      x: { shape: padded(c), type: 'activation', values: bordered },
      ...parameters,
      uniforms: { shape: [n, h, w, channels], type: 'float32', values: uniforms },
      temperature: { shape: [1], type: 'float32', values: [temperature] },
      ...(guidance !== null && { guidance: { shape: [1], type: 'float32', values: [guidance] } }),
      level: {
        shape: [n, h, w, channels],
        type: 'uint8',
        values: uniforms.map(() => random.int(0, levels - 1)),
      },
    };
    if (withKnown)
      inputs.known = {
        shape: [n, h, w],
        type: 'uint8',
        values: Array.from({ length: n * h * w }, () => random.pick([0, 1])),
      };
    return {
      text: JSON.stringify({ n, h, w, c, channels, levels, pad, temperature, guidance, withKnown }),
      inputs,
      record(r, given) {
        const weights = packed(r, filter, 'forward', given['head.weight']!);
        const position = r.state('position', [1], 'int32');
        const image = r.activation('image', padded(channels));
        r.states.add(image);
        const values = r.state('logits', [n, h, w, channels, levels]);
        for (let ahead = 0; ahead < w + slope * (h - 1); ahead += 1)
          for (let group = 0; group < channels; group += 1)
            r.emit({
              op: 'sampleFront',
              label: 'draw',
              fields: {
                ...{ n, h, w, c, channels, levels, precision: r.precisionNumber },
                ...{ pixels: 1, pad, slope, ahead, group },
                x: given.x!,
                packed: weights,
                bias: given['head.bias']!,
                uniforms: given.uniforms!,
                temperature: given.temperature!,
                guidance: given.guidance ?? null,
                position,
                known: given.known ?? null,
                level: given.level!,
                image,
                logits: values,
              },
              result: given.level!,
            });
        return { level: given.level!, image, logits: values };
      },
      reference(arrays) {
        const exact = logitsOf(arrays.x!, arrays['head.weight']!, arrays['head.bias']!);
        const level = Array.from(arrays.level!, (given, at) => {
          if (arrays.known?.[Math.floor(at / channels)]) return given;
          return drawLevel(exact, at * levels, levels, arrays.uniforms![at]!, temperature).level;
        });
        const values = level.map((value) => value / (levels - 1));
        const drawn = guidance === null ? values : [...values, ...values];
        return { level, image: withBorder(all, channels, drawn), logits: exact };
      },
    };
  },
};

export const nextFrontRow: OpRow = {
  op: 'nextFront',
  cases: 8,
  draw(random): OpCase {
    const fronts = random.int(1, 1000);
    return {
      text: `${fronts} fronts`,
      inputs: { position: { shape: [1], type: 'int32', values: [random.int(-5, 100_000)] } },
      record(r, { position }) {
        r.emit({
          op: 'nextFront',
          label: 'next',
          fields: { fronts, position: position! },
          result: position!,
        });
        return { position: position! };
      },
      reference: ({ position }) => ({ position: [position![0]! + fronts] }),
    };
  },
};
