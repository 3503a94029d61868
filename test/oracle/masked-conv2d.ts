// Computes the masked convolution in float64, loop by loop from this formula; it shares nothing with src.
//
//   y[n,i,j,o] = bias[o] + sum over r, s, c of mask(o,c,r,s) w[o,c,r,s] x[n, i + r - k/2, j + s - k/2, c]

export interface ConvShape {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly k: number;
  readonly size: number;
  readonly mask: 'A' | 'B';
  readonly groups: number;
}

type Numbers = ArrayLike<number>;

/**
 * Taps before the centre in raster order are live, those after it dead. At the centre, output group g sees input
 * groups below g, and with mask B its own. Group g of `channels` starts at channel ceil(g * channels / groups).
 */
export function maskOf(
  { c: inputs, k: outputs, size, mask, groups }: ConvShape,
  o: number,
  c: number,
  r: number,
  s: number,
): 0 | 1 {
  const centre = (size * size - 1) / 2;
  const tap = r * size + s;
  if (tap !== centre) return tap < centre ? 1 : 0;
  const from = groupOf(c, inputs, groups);
  const to = groupOf(o, outputs, groups);
  if (from === to) return mask === 'B' ? 1 : 0;
  return from < to ? 1 : 0;
}

function groupOf(channel: number, channels: number, groups: number): number {
  let group = 0;
  while (group + 1 < groups && channel >= Math.ceil(((group + 1) * channels) / groups)) group += 1;
  return group;
}

/** Calls `body` with the x, y and weight index of every product of the convolution. */
function eachProduct(shape: ConvShape, body: (x: number, y: number, weight: number) => void): void {
  const { n, h, w, c: inputs, k: outputs, size } = shape;
  const half = (size - 1) / 2;
  for (let o = 0; o < outputs; o += 1)
    for (let c = 0; c < inputs; c += 1)
      for (let r = 0; r < size; r += 1)
        for (let s = 0; s < size; s += 1) {
          if (maskOf(shape, o, c, r, s) === 0) continue;
          const weight = ((o * inputs + c) * size + r) * size + s;
          for (let b = 0; b < n; b += 1)
            for (let i = Math.max(0, half - r); i < Math.min(h, h + half - r); i += 1)
              for (let j = Math.max(0, half - s); j < Math.min(w, w + half - s); j += 1) {
                const from = (b * h + i + r - half) * w + j + s - half;
                body(from * inputs + c, ((b * h + i) * w + j) * outputs + o, weight);
              }
        }
}

/** y (N, H, W, K). */
export function convForward(shape: ConvShape, x: Numbers, weight: Numbers, bias: Numbers): Float64Array {
  const { n, h, w, k } = shape;
  const y = Float64Array.from({ length: n * h * w * k }, (_, i) => bias[i % k]!);
  eachProduct(shape, (from, to, at) => {
    y[to] = y[to]! + x[from]! * weight[at]!;
  });
  return y;
}

/** Gradients of sum(y * gradY). */
export function convBackward(
  shape: ConvShape,
  x: Numbers,
  weight: Numbers,
  gradY: Numbers,
): { gradInput: Float64Array; gradWeight: Float64Array; gradBias: Float64Array } {
  const gradInput = new Float64Array(shape.n * shape.h * shape.w * shape.c);
  const gradWeight = new Float64Array(weight.length);
  const gradBias = new Float64Array(shape.k);
  eachProduct(shape, (from, to, at) => {
    gradInput[from] = gradInput[from]! + gradY[to]! * weight[at]!;
    gradWeight[at] = gradWeight[at]! + gradY[to]! * x[from]!;
  });
  for (let i = 0; i < gradY.length; i += 1) gradBias[i % shape.k] = gradBias[i % shape.k]! + gradY[i]!;
  return { gradInput, gradWeight, gradBias };
}

/** Centred difference of `f` in one coordinate of `at` over four points: the error is of order step^4. */
export function fourPoint(at: Float64Array, index: number, step: number, f: () => number): number {
  const value = at[index]!;
  const shifted = (by: number) => {
    at[index] = value + by * step;
    const result = f();
    at[index] = value;
    return result;
  };
  return (shifted(-2) - 8 * shifted(-1) + 8 * shifted(1) - shifted(2)) / (12 * step);
}
