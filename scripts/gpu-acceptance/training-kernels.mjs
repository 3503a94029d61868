// Lists the kernels of a training step, op by op, as src/models/network.ts records it and cuda/ launches it.
import { networkOf } from '../../dist/models/architectures.js';
import { parseConfig } from '../../dist/models/parse-config.js';
import { totalParameters } from '../../dist/ops/declarations.js';
import * as cudnn from './cudnn-costs.mjs';
import { cut, elementBytes } from './gpu-model.mjs';
import * as costs from './kernel-costs.mjs';
import * as products from './product-costs.mjs';

/** Bytes of logits that the head takes at once (kChunkBytes in cuda/softmax_cross_entropy.cu). */
export const chunkBytes = 256 * 2 ** 20;

/** Returns the convolutions of a model. `role` is the name of the kernels' rows in the table. */
export function network(options) {
  const config = parseConfig('predict', options);
  const { parameters } = networkOf(config);
  const weights = [...parameters].filter(({ filter }) => filter !== null);
  const layers = weights.map(({ name, filter }, index, all) => {
    const { live: taps, slots } = costs.tapsOf(filter);
    const { c, k, window } = filter;
    return {
      name: name.replace(/\.weight$/, ''),
      c,
      k,
      kernelSize: window.rows,
      taps,
      slots,
      role: index === 0 ? 'first layer' : index < all.length - 1 ? 'hidden' : 'head',
    };
  });
  return {
    config,
    hidden: layers.slice(0, -1),
    head: layers.at(-1),
    parameters: totalParameters(parameters),
  };
}

/** Lists the ops of a training step in the order in which src/models/network.ts records them: label and kernels of each. */
export function trainingOps({ model, batch, height, width, convolutions }, gpu) {
  const { config, hidden, head, parameters } = network(model);
  const pixels = batch * height * width;
  const ops = [];
  const add = (label, ...kernels) => ops.push({ label, kernels });
  const kernel = (name, demand) => ({ name, demand });
  const withCudnn = convolutions === 'cudnn';

  const forward = (layer, n) => {
    const shape = { ...layer, pixels: n };
    const convolution = kernel(
      `${layer.role} forward`,
      withCudnn ? cudnn.convolve(shape) : products.convolve(shape, gpu),
    );
    return withCudnn ? [kernel('round bias', costs.tiny()), convolution] : [convolution];
  };
  const inputGradient = (layer, n) => {
    const shape = { ...layer, pixels: n, c: layer.k, k: layer.c, reluOutput: true, backward: true };
    return kernel(
      `${layer.role} input gradient`,
      withCudnn ? cudnn.convolve(shape) : products.convolve(shape, gpu),
    );
  };
  const weightGradient = (layer, n) => {
    const shape = { ...layer, pixels: n };
    // The first layer keeps our kernel, because cuDNN would pad the few channels of an image to 8.
    const ours = !withCudnn || layer.role === 'first layer';
    const { parts, demand } = !ours ? cudnn.weightGradient(shape) : products.weightGradient(shape);
    const ofHead = layer.role === 'head' ? 'head ' : '';
    return [
      kernel(`${layer.role} weight gradient`, demand),
      kernel(`${ofHead}unpack`, costs.unpack({ ...shape, parts })),
      // Our weight gradient computes it as one row more; cuDNN's does not.
      ...(ours ? [] : costs.biasGradient(shape)).map((round) => kernel(`${ofHead}bias gradient`, round)),
    ];
  };

  add('pack', kernel('pack weights', costs.pack([...hidden, head])));
  add('quantise', kernel('quantise', costs.quantise({ count: pixels * config.channels })));
  for (const layer of hidden) {
    add(`${layer.name} forward`, ...forward(layer, pixels));
  }
  const rowsPerImage = height * width * config.channels;
  const chunks = cut(batch, Math.floor(chunkBytes / (height * width * head.k * elementBytes)));
  add(
    'head',
    ...chunks.flatMap((images) => {
      const n = images * height * width;
      return [
        ...forward(head, n),
        kernel('cross-entropy', costs.crossEntropy({ images, rowsPerImage, levels: config.levels })),
        inputGradient(head, n),
        ...weightGradient(head, n),
        ...(chunks.length === 1 ? [] : [head.c * head.k, head.k]).map((count) =>
          kernel('add gradients of chunks', costs.addGradient({ count })),
        ),
      ];
    }),
    kernel('nats of images', costs.imageNats({ images: batch })),
  );
  for (const layer of hidden.toReversed()) {
    add(`${layer.name} weight gradient`, ...weightGradient(layer, pixels));
    if (layer.role === 'first layer') break;
    add(`${layer.name} input gradient`, inputGradient(layer, pixels));
  }
  add(
    'adam gradient norm',
    ...costs.gradientNorm({ parameters }).map((demand) => kernel('gradient norm', demand)),
  );
  add('adam', ...costs.adam({ parameters }).map((demand) => kernel('adam', demand)));
  return ops;
}

/** Counts two operations per product of a live tap, which any way to compute a step needs. */
export function trainingFlops({ model, batch, height, width }) {
  const { hidden, head } = network(model);
  const forward = ({ taps, c, k }) => 2 * batch * height * width * taps * c * k;
  const all = [...hidden, head].reduce((sum, layer) => sum + forward(layer), 0);
  return 3 * all - forward(hidden[0]); // the images need no gradient
}
