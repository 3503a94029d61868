// Defines the Gated PixelCNN of van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders".
import { Conv2d } from '../layers/conv2d.js';
import { GatedLayer, type Stacks } from '../layers/gated.js';
import { SoftmaxHead } from '../layers/softmax-head.js';
import { Declarations } from '../ops/declarations.js';
import { pixelWindow } from '../ops/window.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { shapeOfCondition } from './condition.js';
import type { GatedConfig } from './config.js';
import type { Network } from './network.js';

/**
 * Two stacks of gated layers: one sees the rows above, the other also the row so far. Together they see every earlier
 * pixel, so there is no blind spot. The sum of all layers' skip connections goes through two 1x1 convolutions to the logits.
 */
export class GatedNetwork implements Network {
  readonly parameters = new Declarations();
  readonly head: SoftmaxHead;
  readonly #layers: readonly GatedLayer[];
  readonly #merge: Conv2d;

  constructor(config: GatedConfig) {
    const { channels, hiddenChannels, layers, levels, kernelSize, firstKernelSize, headChannels } = config;
    const grouped = { channelGroups: channels };
    const condition = shapeOfCondition(config);
    this.#layers = Array.from({ length: layers }, (_, l) => {
      const [inputs, size] = l === 0 ? [channels, firstKernelSize] : [hiddenChannels, kernelSize];
      const place = { isFirst: l === 0, isLast: l === layers - 1 };
      return new GatedLayer(this.parameters, `layers.${l}`, inputs, size, {
        ...grouped,
        hiddenChannels,
        condition,
        ...place,
      });
    });
    this.#merge = new Conv2d(this.parameters, 'head.0', hiddenChannels, headChannels, pixelWindow, grouped);
    this.head = new SoftmaxHead(this.parameters, 'head.1', headChannels, channels, levels);
  }

  features(r: Recorder, image: Tensor, condition: Tensor | null): Tensor {
    const start: Stacks = { vertical: image, horizontal: image, skip: null };
    const { skip } = this.#layers.reduce((stacks, layer) => layer.forward(r, stacks, condition), start);
    return this.#merge.forward(r, skip!, { relu: true });
  }
}
