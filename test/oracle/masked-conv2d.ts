// Computes the masked convolution in float64, loop by loop from this formula; it shares nothing with src.
//
//   y[n,i,j,o] = bias[o] + sum over r, s, c of mask(o,c,r,s) w[o,c,r,s] x[n, i + r - above, j + s - left, c]

/** A square with the output pixel in the middle, and mask A or B. */
export interface SquareShape {
  readonly size: number;
  readonly mask: 'A' | 'B';
}

/** Any window: rows x columns, the output pixel at row `above`, column `left`. */
export interface WindowShape {
  readonly rows: number;
  readonly columns: number;
  readonly above: number;
  readonly left: number;
  /** How much of the pixel's own row is live: `left` and `centre` are the masks A and B. */
  readonly ownRow: 'none' | 'left' | 'centre' | 'all';
}

export interface ConvSizes {
  readonly n: number;
  readonly h: number;
  readonly w: number;
  readonly c: number;
  readonly k: number;
  readonly groups: number;
  /** Whether output channels 2i and 2i + 1 share the group of channel i of k / 2. Default false. */
  readonly pairs?: boolean;
}

export type ConvShape = ConvSizes & (SquareShape | WindowShape);

function windowOf(shape: ConvShape): WindowShape {
  if ('rows' in shape) return shape;
  const half = (shape.size - 1) / 2;
  const ownRow = shape.mask === 'A' ? 'left' : 'centre';
  return { rows: shape.size, columns: shape.size, above: half, left: half, ownRow };
}

type Numbers = ArrayLike<number>;

/**
 * Returns 1 for a live tap. Rows above the pixel are live and rows below it dead. In its own row, taps to the left are
 * live unless the row is dead, and those to the right only if all of it is live. At the pixel, output group g sees input
 * groups below g, and with mask B its own. Group g of `channels` starts at channel ceil(g * channels / groups).
 */
export function maskOf(shape: ConvShape, o: number, c: number, r: number, s: number): 0 | 1 {
  const { above, left, ownRow } = windowOf(shape);
  if (r !== above) return r < above ? 1 : 0;
  if (ownRow === 'none' || ownRow === 'all') return ownRow === 'all' ? 1 : 0;
  if (s !== left) return s < left ? 1 : 0;
  const from = groupOf(c, shape.c, shape.groups);
  const to = shape.pairs
    ? groupOf(Math.floor(o / 2), shape.k / 2, shape.groups)
    : groupOf(o, shape.k, shape.groups);
  if (from === to) return ownRow === 'centre' ? 1 : 0;
  return from < to ? 1 : 0;
}

function groupOf(channel: number, channels: number, groups: number): number {
  let group = 0;
  while (group + 1 < groups && channel >= Math.ceil(((group + 1) * channels) / groups)) group += 1;
  return group;
}

/** Calls `body` with the x, y and weight index of every product of the convolution. */
function eachProduct(shape: ConvShape, body: (x: number, y: number, weight: number) => void): void {
  const { n, h, w, c: inputs, k: outputs } = shape;
  const { rows, columns, above, left } = windowOf(shape);
  for (let o = 0; o < outputs; o += 1)
    for (let c = 0; c < inputs; c += 1)
      for (let r = 0; r < rows; r += 1)
        for (let s = 0; s < columns; s += 1) {
          if (maskOf(shape, o, c, r, s) === 0) continue;
          const weight = ((o * inputs + c) * rows + r) * columns + s;
          for (let b = 0; b < n; b += 1)
            for (let i = Math.max(0, above - r); i < Math.min(h, h + above - r); i += 1)
              for (let j = Math.max(0, left - s); j < Math.min(w, w + left - s); j += 1) {
                const from = (b * h + i + r - above) * w + j + s - left;
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
