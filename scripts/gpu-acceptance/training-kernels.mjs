// Lists the kernels of a training step, op by op, as the library records it and cuda/ launches it.
import { pixelWindow } from '../../dist/ops/window.js';
import { ownRows } from '../../dist/program/sight.js';
import * as cudnn from './cudnn-costs.mjs';
import { filterOf } from './filters.mjs';
import { cut, elementBytes } from './gpu-model.mjs';
import * as costs from './kernel-costs.mjs';
import * as products from './product-costs.mjs';
import { recordedTrainingStep } from './recorded-programs.mjs';

/** Bytes of logits that the head takes at once (kChunkBytes in cuda/softmax_cross_entropy.cu). */
export const chunkBytes = 256 * 2 ** 20;

const kernel = (name, demand) => ({ name, demand });

/** The rows of a condition: one for each image or for each pixel. */
const conditionRows = ({ n, h, w, perPixel }) => (perPixel === 1 ? n * h * w : n);

/** Describes gates or their gradients: with a condition they are other kernels. */
function gateKernel(name, fields, costOf) {
  const { n, h, w, c, condition } = fields;
  const count = n * h * w * c;
  if (condition === null) return kernel(name, costOf({ count }));
  return kernel(`conditional ${name}`, costOf({ count, conditions: conditionRows(fields) * c }));
}

/** Lists the ops of a training step in the order in which they are recorded: label and kernels of each. */
export function trainingOps(shape, gpu) {
  const { ops } = recordedTrainingStep(shape);
  const kernels = new StepKernels(ops, shape, gpu);
  return ops.map((op) => ({ label: op.label, kernels: kernels.of(op) }));
}

/** Lists the kernels of each op of one training step. */
class StepKernels {
  #image;
  #withCudnn;
  #gpu;

  constructor(ops, { convolutions }, gpu) {
    this.#image = ops.find(({ op }) => op === 'quantise').fields.x;
    this.#withCudnn = convolutions === 'cudnn';
    this.#gpu = gpu;
  }

  of({ op, label, fields }) {
    const layer = () => ({ ...filterOf(fields), role: this.#roleOf(label, fields) });
    const pixels = fields.n * fields.h * fields.w;
    const rounds = (name, demands) => demands.map((demand) => kernel(name, demand));
    switch (op) {
      case 'maskedConv2dPack':
        return [kernel('pack weights', costs.pack(fields.filter.map(filterOf)))];
      case 'quantise':
        return [kernel('quantise', costs.quantise(fields))];
      case 'maskedConv2d':
        return this.#forward({
          ...layer(),
          pixels,
          add: fields.add !== null,
          bias: fields.bias !== null,
          relu: fields.relu === 1,
        });
      case 'maskedConv2dBackwardInput': {
        const more = { add: fields.add !== null, reluOutput: fields.reluOutput !== null };
        return [this.#inputGradient({ ...layer(), pixels, ...more })];
      }
      case 'maskedConv2dBackwardWeight':
        return this.#weightGradient({ ...layer(), pixels, bias: fields.gradBias !== null });
      case 'gatedActivation':
        return [gateKernel('gate', fields, costs.gatedActivation)];
      case 'gatedActivationBackward':
        return [gateKernel('gate gradient', fields, costs.gatedActivationBackward)];
      case 'addCondition':
        return [
          kernel(
            'add condition',
            costs.addCondition({ pixels, channels: fields.c, rows: conditionRows(fields) }),
          ),
        ];
      case 'sumPixels':
        return rounds('sum of pixels', costs.sumPixels(fields));
      case 'embedding':
        return [kernel('embedding', costs.embedding(fields))];
      case 'embeddingBackward':
        return [kernel('embedding gradient', costs.embeddingBackward(fields))];
      case 'cast':
        return [kernel('cast', costs.cast(fields))];
      case 'accumulate': {
        const operands = [fields.a, fields.b, fields.reluOutput].filter((tensor) => tensor !== null).length;
        return [kernel('sum of gradients', costs.accumulate({ count: fields.count, operands }))];
      }
      case 'softmaxCrossEntropy':
        return this.#head(fields);
      case 'gradientNorm':
        return rounds('gradient norm', costs.gradientNorm({ parameters: fields.count }));
      case 'adam':
        return rounds('adam', costs.adam({ parameters: fields.count }));
      default:
        throw new Error(`${label}: the cost of the op '${op}' is not known`);
    }
  }

  /** Names the rows of a layer in the table: those of a gated layer are named after its parts. */
  #roleOf(label, { x }) {
    if (x === this.#image) return 'first layer';
    const part = label.split(' ')[0].split('.').at(-1);
    return /^\d+$/.test(part) ? 'hidden' : part;
  }

  #forward(shape) {
    // A graph of cuDNN without a bias has no addend and no ReLU either (cuda/masked_conv2d.cu).
    const withCudnn = this.#withCudnn && (shape.bias || !(shape.add || shape.relu));
    const convolution = kernel(
      `${shape.role} forward`,
      withCudnn ? cudnn.convolve(shape) : products.convolve(shape, this.#gpu),
    );
    return withCudnn && shape.bias ? [kernel('round bias', costs.tiny()), convolution] : [convolution];
  }

  #inputGradient(layer) {
    const shape = { ...layer, c: layer.k, k: layer.c, backward: true };
    const withCudnn = this.#withCudnn && !(shape.add && shape.reluOutput);
    return kernel(
      `${layer.role} input gradient`,
      withCudnn ? cudnn.convolve(shape) : products.convolve(shape, this.#gpu),
    );
  }

  #weightGradient(shape) {
    // The first layer keeps our kernel, because cuDNN would pad the few channels of an image to 8.
    const ours = !this.#withCudnn || shape.role === 'first layer';
    const { parts, demand } = ours ? products.weightGradient(shape) : cudnn.weightGradient(shape);
    const ofHead = shape.role === 'head' ? 'head ' : '';
    return [
      kernel(`${shape.role} weight gradient`, demand),
      kernel(`${ofHead}unpack`, costs.unpack({ ...shape, parts })),
      // Our weight gradient computes it as one row more; cuDNN's does not.
      ...(ours || !shape.bias ? [] : costs.biasGradient(shape)).map((round) =>
        kernel(`${ofHead}bias gradient`, round),
      ),
    ];
  }

  #head({ n: batch, h, w, c, channels, levels, reluOutput }) {
    const window = { ...pixelWindow, ownRow: ownRows.indexOf(pixelWindow.ownRow) };
    const filter = { c, k: channels * levels, ...window, channelGroups: channels };
    const chunks = cut(batch, Math.floor(chunkBytes / (h * w * filter.k * elementBytes)));
    return [
      ...chunks.flatMap((images) => {
        const shape = { ...filterOf(filter), role: 'head', pixels: images * h * w, bias: true };
        return [
          ...this.#forward(shape),
          kernel('cross-entropy', costs.crossEntropy({ images, rowsPerImage: h * w * channels, levels })),
          this.#inputGradient({ ...shape, reluOutput: reluOutput !== null }),
          ...this.#weightGradient(shape),
          ...(chunks.length === 1 ? [] : [c * filter.k, filter.k]).map((count) =>
            kernel('add gradients of chunks', costs.addGradient({ count })),
          ),
        ];
      }),
      kernel('nats of images', costs.imageNats({ images: batch })),
    ];
  }
}

/** Counts two operations per product of a live tap, which any way to compute a step needs. */
export function trainingFlops(shape) {
  const products_ = ({ op, fields }) => {
    const pixels = fields.n * fields.h * fields.w;
    if (op === 'softmaxCrossEntropy') return 3 * pixels * fields.c * fields.channels * fields.levels;
    if (!op.startsWith('maskedConv2d') || op === 'maskedConv2dPack') return 0;
    const { taps, c, k } = filterOf(fields);
    return pixels * taps * c * k;
  };
  return recordedTrainingStep(shape).ops.reduce((sum, op) => sum + 2 * products_(op), 0);
}
