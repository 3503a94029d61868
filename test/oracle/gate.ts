// Computes the gate of the Gated PixelCNN and its gradient in float64, from their formulas.

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** y[i] = tanh(x[2i]) * sigmoid(x[2i + 1]) */
export function gateForward(x: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: x.length / 2 }, (_, i) => Math.tanh(x[2 * i]!) * sigmoid(x[2 * i + 1]!));
}

/** The gradient of x, of which channels 2i and 2i + 1 are the halves of gate i. */
export function gateBackward(x: ArrayLike<number>, gradY: ArrayLike<number>): Float64Array {
  return Float64Array.from({ length: x.length }, (_, i) => {
    const gate = Math.floor(i / 2);
    const [a, b] = [x[2 * gate]!, x[2 * gate + 1]!];
    const slope = i % 2 === 0 ? sigmoid(b) / Math.cosh(a) ** 2 : Math.tanh(a) * sigmoid(b) * sigmoid(-b);
    return gradY[gate]! * slope;
  });
}
