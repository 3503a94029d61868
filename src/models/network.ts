// Records what a network computes: a forward pass, a likelihood, and a training step with its backward pass.
import type { LayerParameters, MaskedConv2d } from '../layers/masked-conv2d.js';
import { type AdamOperands, adam } from '../ops/adam.js';
import {
  type Algorithm,
  type Direction,
  maskedConv2dForward,
  maskedConv2dPack,
} from '../ops/masked-conv2d.js';
import { quantise } from '../ops/quantise.js';
import {
  type HeadShape,
  softmaxCrossEntropy,
  softmaxCrossEntropyBackward,
} from '../ops/softmax-cross-entropy.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import type { PixelCnnConfig } from './config.js';

/** A network that is bound to one set of parameters: masked convolutions with ReLU, then the head. */
export interface Network {
  readonly config: PixelCnnConfig;
  readonly hidden: readonly MaskedConv2d[];
  readonly head: MaskedConv2d;
}

/** The packed forward weights of all layers: those of the hidden layers, then that of the head. */
export type PackedWeights = readonly Tensor[];

/** Records the packing of all forward weights into states, with one op for up to 32 layers. */
export function recordPack(r: Recorder, { hidden, head }: Network, algorithm: Algorithm): PackedWeights {
  const filters = [...hidden, head].map((layer) => {
    return layer.filterPack(r, 'forward', layer === head ? 'direct' : algorithm, true);
  });
  maskedConv2dPack(r, 'pack', filters);
  return filters.map(({ packed }) => packed);
}

/**
 * Returns a function that gives the packed weights of layer i for a direction. If one packing serves both directions, all
 * layers are packed here, with one op; otherwise the function records each packing when it is called.
 */
function trainingPacks(
  r: Recorder,
  network: Network,
  algorithm: Algorithm,
): (i: number, direction: Direction) => Tensor {
  if (r.device.packsOnce) {
    const packed = recordPack(r, network, algorithm);
    return (i) => packed[i]!;
  }
  // On the CPU one op for all layers would be no faster, and it would need memory for both directions of all layers.
  const { hidden, head } = network;
  return (i, direction) => {
    const layer = hidden[i] ?? head;
    const filter = layer.filterPack(r, direction, layer === head ? 'direct' : algorithm, false);
    maskedConv2dPack(r, `${layer.config.name} pack`, [filter]);
    return filter.packed;
  };
}

/** Records the hidden activations (N, H, W, hidden) of images of bytes (N, H, W, channels), and the images' levels. */
function recordHidden(
  r: Recorder,
  network: Network,
  bytes: Tensor,
  packed: PackedWeights,
  algorithm: Algorithm,
) {
  const { level, x } = quantise(r, 'quantise', bytes, network.config.levels);
  const y = network.hidden.reduce((input, layer, i) => layer.forward(r, input, algorithm, packed[i]!), x);
  return { level, y };
}

/** Records the logits (N, H, W, channels * levels). Logit c * levels + v is that of level v of channel c. */
export function recordLogits(
  r: Recorder,
  network: Network,
  bytes: Tensor,
  packed: PackedWeights,
  algorithm: Algorithm,
): Tensor {
  const { y } = recordHidden(r, network, bytes, packed, algorithm);
  const { head } = network;
  return maskedConv2dForward(r, `${head.config.name} logits`, head.shape(bytes.shape, 'direct'), {
    x: y,
    packed: packed.at(-1)!,
    bias: head.parameters.bias,
    relu: false,
    floatY: true,
  });
}

/** Records the negative log-likelihood of each image in nats (N, float64). */
export function recordNats(
  r: Recorder,
  network: Network,
  bytes: Tensor,
  packed: PackedWeights,
  algorithm: Algorithm,
): Tensor {
  const { level, y } = recordHidden(r, network, bytes, packed, algorithm);
  const bias = network.head.parameters.bias;
  return softmaxCrossEntropy(r, 'head', headShape(network, bytes), {
    x: y,
    packed: packed.at(-1)!,
    bias,
    level,
  });
}

/** Records one training step on images of bytes. Returns their nats (N, float64) before the step. */
export function recordTrainingStep(
  r: Recorder,
  network: Network,
  bytes: Tensor,
  gradients: readonly LayerParameters[],
  optimizer: AdamOperands,
  algorithm: Algorithm,
): Tensor {
  const { hidden, head, config } = network;
  const packed = trainingPacks(r, network, algorithm);
  const { level, x } = quantise(r, 'quantise', bytes, config.levels);
  const activations = [x];
  hidden.forEach((layer, i) => {
    activations.push(layer.forward(r, activations[i]!, algorithm, packed(i, 'forward')));
  });

  const headGradient = gradients.at(-1)!;
  const { nats, gradX } = softmaxCrossEntropyBackward(r, 'head', headShape(network, bytes), {
    x: activations.at(-1)!,
    packed: packed(hidden.length, 'forward'),
    packedBackward: packed(hidden.length, 'backward'),
    bias: head.parameters.bias,
    level,
    gradWeight: headGradient.weight,
    gradBias: headGradient.bias,
  });

  let gradient = gradX;
  for (let i = hidden.length - 1; i >= 0; i -= 1) {
    hidden[i]!.backwardWeight(r, activations[i]!, gradient, gradients[i]!, algorithm);
    if (i > 0)
      gradient = hidden[i]!.backwardInput(r, activations[i]!, gradient, algorithm, packed(i, 'backward'));
  }
  adam(r, 'adam', optimizer);
  return nats;
}

function headShape({ config }: Network, bytes: Tensor): HeadShape {
  const [n, h, w, channels] = bytes.shape as [number, number, number, number];
  return { n, h, w, c: config.hiddenChannels, channels, levels: config.levels };
}
