// Computes the whole network in float64: logits, softmax cross-entropy, gradients, and a sampler in raster order.
import { type ConvShape, convBackward, convForward } from './masked-conv2d.js';

export interface OracleConfig {
  readonly channels: number;
  readonly hiddenChannels: number;
  readonly layers: number;
  readonly levels: number;
  readonly kernelSize: number;
}

/** By PyTorch's names: net.0.weight, net.0.bias, net.2.weight … */
export type OracleParameters = ReadonlyMap<string, ArrayLike<number>>;

export interface ImageSize {
  readonly n: number;
  readonly h: number;
  readonly w: number;
}

function convOf(config: OracleConfig, { n, h, w }: ImageSize, layer: number): ConvShape {
  const { channels, hiddenChannels, layers, levels, kernelSize } = config;
  const last = layer === layers - 1;
  return {
    n,
    h,
    w,
    c: layer === 0 ? channels : hiddenChannels,
    k: last ? channels * levels : hiddenChannels,
    size: last ? 1 : kernelSize,
    mask: layer === 0 ? 'A' : 'B',
    groups: channels,
  };
}

const named = (parameters: OracleParameters, layer: number, kind: 'weight' | 'bias') => {
  const values = parameters.get(`net.${2 * layer}.${kind}`);
  if (values === undefined) throw new Error(`no parameter net.${2 * layer}.${kind}`);
  return values;
};

/** Which values that lie nearly on a ReLU's kink fall on the other side, where rounding may put them. */
export interface Kink {
  /** How near they lie. */
  readonly within: number;
  /** Their numbers, in the order in which such values are computed. */
  readonly flipped: readonly number[];
}

/**
 * Inputs of every layer, then the logits (N, H, W, channels, levels); `nearestKink`: least |value before a ReLU|; `near`: how
 * many values lie near a kink.
 */
function activationsOf(
  config: OracleConfig,
  parameters: OracleParameters,
  size: ImageSize,
  levels: ArrayLike<number>,
  kink: Kink = { within: 0, flipped: [] },
): { activations: Float64Array[]; nearestKink: number; near: number } {
  const activations: Float64Array[] = [Float64Array.from(levels, (level) => level / (config.levels - 1))];
  let nearestKink = Number.POSITIVE_INFINITY;
  let near = 0;
  for (let layer = 0; layer < config.layers; layer += 1) {
    const weight = named(parameters, layer, 'weight');
    const y = convForward(
      convOf(config, size, layer),
      activations[layer]!,
      weight,
      named(parameters, layer, 'bias'),
    );
    if (layer < config.layers - 1) {
      for (let i = 0; i < y.length; i += 1) {
        nearestKink = Math.min(nearestKink, Math.abs(y[i]!));
        if (Math.abs(y[i]!) < kink.within) {
          if (kink.flipped.includes(near)) y[i] = -y[i]!;
          near += 1;
        }
        if (y[i]! < 0) y[i] = 0;
      }
    }
    activations.push(y);
  }
  return { activations, nearestKink, near };
}

export function networkLogits(
  config: OracleConfig,
  parameters: OracleParameters,
  size: ImageSize,
  levels: ArrayLike<number>,
): Float64Array {
  return activationsOf(config, parameters, size, levels).activations.at(-1)!;
}

/** softmax(logits / temperature) of one distribution. */
export function softmax(logits: ArrayLike<number>, start: number, levels: number, temperature = 1): number[] {
  const row = Array.from({ length: levels }, (_, v) => logits[start + v]! / temperature);
  const largest = Math.max(...row);
  const powers = row.map((value) => Math.exp(value - largest));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((power) => power / sum);
}

/** -log p of each of `n` images in nats, from logits (N, ..., levels) and levels (N, ...). */
export function crossEntropy(
  logits: ArrayLike<number>,
  target: ArrayLike<number>,
  n: number,
  levels: number,
) {
  const nats = new Float64Array(n);
  const perImage = target.length / n;
  for (let i = 0; i < target.length; i += 1) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let v = 0; v < levels; v += 1) largest = Math.max(largest, logits[i * levels + v]!);
    let sum = 0;
    for (let v = 0; v < levels; v += 1) sum += Math.exp(logits[i * levels + v]! - largest);
    const image = Math.floor(i / perImage);
    nats[image] = nats[image]! + Math.log(sum) + largest - logits[i * levels + target[i]!]!;
  }
  return nats;
}

/** Mean cross-entropy over all dimensions and its gradients by parameter name. */
export function networkGradients(
  config: OracleConfig,
  parameters: OracleParameters,
  size: ImageSize,
  levels: ArrayLike<number>,
  kink?: Kink,
): {
  loss: number;
  nats: Float64Array;
  gradients: Map<string, Float64Array>;
  nearestKink: number;
  near: number;
} {
  const { activations, nearestKink, near } = activationsOf(config, parameters, size, levels, kink);
  const logits = activations.at(-1)!;
  const count = levels.length;
  const nats = crossEntropy(logits, levels, size.n, config.levels);
  const gradients = new Map<string, Float64Array>();
  let gradient: Float64Array = new Float64Array(logits.length);
  for (let i = 0; i < count; i += 1) {
    softmax(logits, i * config.levels, config.levels).forEach((p, v) => {
      gradient[i * config.levels + v] = (p - (v === levels[i] ? 1 : 0)) / count;
    });
  }
  for (let layer = config.layers - 1; layer >= 0; layer -= 1) {
    const x = activations[layer]!;
    const weight = named(parameters, layer, 'weight');
    const back = convBackward(convOf(config, size, layer), x, weight, gradient);
    gradients.set(`net.${2 * layer}.weight`, back.gradWeight);
    gradients.set(`net.${2 * layer}.bias`, back.gradBias);
    gradient = back.gradInput.map((value, i) => (x[i]! > 0 ? value : 0));
  }
  const loss = nats.reduce((a, b) => a + b, 0) / count;
  return { loss, nats, gradients, nearestKink, near };
}

/** The first v with cumsum(softmax(logits / temperature))[v] > u; argmax at temperature 0. Also |cdf - u| at its least. */
export function drawLevel(
  logits: ArrayLike<number>,
  start: number,
  levels: number,
  u: number,
  temperature = 1,
): { level: number; margin: number } {
  if (temperature === 0) {
    let best = 0;
    for (let v = 1; v < levels; v += 1) if (logits[start + v]! > logits[start + best]!) best = v;
    return { level: best, margin: Number.POSITIVE_INFINITY };
  }
  let cumulative = 0;
  let margin = Number.POSITIVE_INFINITY;
  let level = -1;
  softmax(logits, start, levels, temperature).forEach((p, v) => {
    cumulative += p;
    if (v < levels - 1) margin = Math.min(margin, Math.abs(cumulative - u));
    if (level < 0 && cumulative > u) level = v;
  });
  return { level: level < 0 ? levels - 1 : level, margin };
}

/** Draws images pixel by pixel and channel by channel, one full forward pass for each value. */
export async function sampleRaster(
  size: ImageSize,
  channels: number,
  levels: number,
  uniforms: ArrayLike<number>,
  logitsOf: (levels: Uint8Array) => ArrayLike<number> | Promise<ArrayLike<number>>,
): Promise<{ levels: Uint8Array; margin: number }> {
  const { n, h, w } = size;
  const drawn = new Uint8Array(n * h * w * channels);
  let margin = Number.POSITIVE_INFINITY;
  for (let pixel = 0; pixel < h * w; pixel += 1)
    for (let c = 0; c < channels; c += 1) {
      const logits = await logitsOf(drawn);
      for (let b = 0; b < n; b += 1) {
        const at = (b * h * w + pixel) * channels + c;
        const draw = drawLevel(logits, at * levels, levels, uniforms[at]!);
        drawn[at] = draw.level;
        margin = Math.min(margin, draw.margin);
      }
    }
  return { levels: drawn, margin };
}
