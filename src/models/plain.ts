// Defines the plain PixelCNN of van den Oord et al. 2016a without residual blocks: a stack of masked convolutions and ReLUs.
import { ConditionProjection } from '../layers/condition.js';
import { Conv2d } from '../layers/conv2d.js';
import { SoftmaxHead } from '../layers/softmax-head.js';
import { addCondition } from '../ops/add-condition.js';
import { Declarations } from '../ops/declarations.js';
import { squareWindow } from '../ops/window.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { shapeOfCondition } from './condition.js';
import type { PlainConfig } from './config.js';
import type { Network } from './network.js';

/** Its layers have the names of a PyTorch `nn.Sequential` that contains the ReLUs: net.0, net.2 and so on. */
export class PlainNetwork implements Network {
  readonly parameters = new Declarations();
  readonly head: SoftmaxHead;
  readonly #hidden: readonly { name: string; conv: Conv2d; projection: ConditionProjection | undefined }[];
  readonly #channels: number;

  constructor(config: PlainConfig) {
    const { channels, hiddenChannels, layers, levels, kernelSize } = config;
    const condition = shapeOfCondition(config);
    this.#channels = channels;
    this.#hidden = Array.from({ length: layers - 1 }, (_, i) => {
      const [inputs, window] =
        i === 0 ? [channels, squareWindow(kernelSize, 'A')] : [hiddenChannels, squareWindow(kernelSize, 'B')];
      const options = { channelGroups: channels };
      const name = `net.${2 * i}`;
      return {
        name,
        conv: new Conv2d(this.parameters, name, inputs, hiddenChannels, window, options),
        projection:
          condition &&
          new ConditionProjection(this.parameters, `${name}.condition`, condition, hiddenChannels),
      };
    });
    const name = `net.${2 * (layers - 1)}`;
    this.head = new SoftmaxHead(this.parameters, name, hiddenChannels, channels, levels);
  }

  /** A condition is added to every hidden layer before its ReLU. */
  features(r: Recorder, image: Tensor, condition: Tensor | null): Tensor {
    return this.#hidden.reduce((x, { name, conv, projection }) => {
      if (condition === null || projection === undefined) return conv.forward(r, x, { relu: true });
      const projected = projection.forward(r, condition);
      const label = `${name} condition`;
      return addCondition(r, label, conv.forward(r, x), projected, this.#channels, { relu: true });
    }, image);
  }
}
