// Tests a second, tiny architecture that has nothing but its model function: two stacks without a blind spot, joined
// by links, with residual and skip connections.
import { Conv2d } from '../../src/layers/conv2d.js';
import { SoftmaxHead } from '../../src/layers/softmax-head.js';
import type { PixelCnnConfig } from '../../src/models/config.js';
import type { Network } from '../../src/models/network.js';
import { PlainNetwork } from '../../src/models/plain.js';
import { Declarations } from '../../src/ops/declarations.js';
import { pixelWindow, rowSoFarWindow, rowsAboveWindow } from '../../src/ops/window.js';
import type { Recorder } from '../../src/program/recorder.js';
import type { Tensor } from '../../src/program/tensor.js';
import { testGpu } from '../helpers/cuda.js';
import { testDevice } from '../helpers/models.js';
import { testNetwork } from '../helpers/test-network.js';

/** The stacks of van den Oord et al. 2016b with ReLUs in place of gates. */
class TwoStacks implements Network {
  readonly parameters = new Declarations();
  readonly head: SoftmaxHead;
  readonly #layers: readonly {
    vertical: Conv2d;
    horizontal: Conv2d;
    link: Conv2d;
    skip: Conv2d;
    residual: Conv2d | null;
  }[];
  readonly #merge: Conv2d;

  constructor({ channels, hiddenChannels: p, layers, levels, kernelSize }: PixelCnnConfig) {
    const grouped = { channelGroups: channels };
    const conv = (name: string, c: number, window: typeof pixelWindow, options = {}) =>
      new Conv2d(this.parameters, name, c, p, window, options);
    this.#layers = Array.from({ length: layers }, (_, l) => {
      const [c, mask] = l === 0 ? ([channels, 'A'] as const) : ([p, 'B'] as const);
      return {
        vertical: conv(`layers.${l}.vertical`, c, rowsAboveWindow(kernelSize, mask)),
        horizontal: conv(`layers.${l}.horizontal`, c, rowSoFarWindow(kernelSize, mask), grouped),
        link: conv(`layers.${l}.link`, p, pixelWindow, { bias: false }),
        skip: conv(`layers.${l}.skip`, p, pixelWindow, grouped),
        residual: l === layers - 1 ? null : conv(`layers.${l}.residual`, p, pixelWindow, grouped),
      };
    });
    this.#merge = conv('head.0', p, pixelWindow, grouped);
    this.head = new SoftmaxHead(this.parameters, 'head.1', p, channels, levels);
  }

  features(r: Recorder, image: Tensor): Tensor {
    let [v, h, sum]: [Tensor, Tensor, Tensor | null] = [image, image, null];
    for (const [l, { vertical, horizontal, link, skip, residual }] of this.#layers.entries()) {
      v = vertical.forward(r, v, { relu: true });
      const row = horizontal.forward(r, h, { add: link.forward(r, v), relu: true });
      sum = skip.forward(r, row, { add: sum, relu: residual === null });
      h = residual === null ? h : residual.forward(r, row, { add: l === 0 ? null : h });
    }
    return this.#merge.forward(r, sum!, { relu: true });
  }
}

const devices = { cpu: testDevice(), gpu: testGpu() };

const rgb = { channels: 3, hiddenChannels: 8, layers: 3, levels: 4, kernelSize: 3 };
const binary = { channels: 1, hiddenChannels: 6, layers: 2, levels: 2, kernelSize: 5 };
testNetwork({ name: 'two stacks, RGB', config: rgb, network: new TwoStacks(rgb) }, devices);
testNetwork({ name: 'two stacks, binary', config: binary, network: new TwoStacks(binary) }, devices);
testNetwork({ name: 'plain, RGB', config: rgb, network: new PlainNetwork(rgb) }, devices);
