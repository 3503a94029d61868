// Defines the plain PixelCNN of van den Oord et al. 2016a without residual blocks: a stack of masked convolutions and ReLUs.
import { Conv2d } from '../layers/conv2d.js';
import { SoftmaxHead } from '../layers/softmax-head.js';
import { Declarations } from '../ops/declarations.js';
import { squareWindow } from '../ops/window.js';
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import type { PlainConfig } from './config.js';
import type { Network } from './network.js';

/** Its layers have the names of a PyTorch `nn.Sequential` that contains the ReLUs: net.0, net.2 and so on. */
export class PlainNetwork implements Network {
  readonly parameters = new Declarations();
  readonly head: SoftmaxHead;
  readonly #hidden: readonly Conv2d[];

  constructor({ channels, hiddenChannels, layers, levels, kernelSize }: PlainConfig) {
    this.#hidden = Array.from({ length: layers - 1 }, (_, i) => {
      const [inputs, window] =
        i === 0 ? [channels, squareWindow(kernelSize, 'A')] : [hiddenChannels, squareWindow(kernelSize, 'B')];
      const options = { channelGroups: channels };
      return new Conv2d(this.parameters, `net.${2 * i}`, inputs, hiddenChannels, window, options);
    });
    const name = `net.${2 * (layers - 1)}`;
    this.head = new SoftmaxHead(this.parameters, name, hiddenChannels, channels, levels);
  }

  features(r: Recorder, image: Tensor): Tensor {
    return this.#hidden.reduce((x, layer) => layer.forward(r, x, { relu: true }), image);
  }
}
