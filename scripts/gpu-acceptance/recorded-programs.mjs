// Records training steps and fronts of the sampler as the library records them, without a device: predictions are made
// from these ops, so the order of a network's layers is described only once.
import { networkOf } from '../../dist/models/architectures.js';
import { conditionInput } from '../../dist/models/condition.js';
import { recordTrainingStep } from '../../dist/models/network.js';
import { parseConfig } from '../../dist/models/parse-config.js';
import { totalParameters } from '../../dist/ops/declarations.js';
import { PackList } from '../../dist/program/pack-list.js';
import { Recorder } from '../../dist/program/recorder.js';
import { describeTensor } from '../../dist/program/tensor.js';
import { imagesPerBatch } from '../../dist/sample/front-sampler.js';
import { drawingOf, passesOf, recordBeginning, recordFront } from '../../dist/sample/passes.js';

/** Most pixels of a batch of the sampler, and of a forward pass (src/device/device.ts). */
export const pixelsPerSampledBatch = 4096 * 28 * 28;
export const pixelsPerForward = 2048 * 28 * 28;

/** What recording asks of a GPU in bf16. The bytes of packed weights do not matter, because nothing is allocated. */
const device = {
  info: { backend: 'cuda', precision: 'bf16' },
  packsOnce: true,
  packedBytes: () => 1,
  pixelsPerSampledBatch,
  pixelsPerForward,
};

/** Makes what recording needs of a model. */
function modelOf(options) {
  const config = parseConfig('predict', options);
  const network = networkOf(config);
  return { config, network, device, raw: { byName: tensorsOf(network, 'raw') } };
}

function tensorsOf({ parameters }, kind) {
  return new Map(
    [...parameters].map(({ name, shape }) => [name, describeTensor(`${kind} ${name}`, shape, 'float32')]),
  );
}

/** Records a training step of `batch` images. Returns its ops and the configuration of the model. */
export function recordedTrainingStep({ model: options, batch, height, width }) {
  const { config, network, raw } = modelOf(options);
  const r = new Recorder(device, {
    algorithm: 'auto',
    parameters: raw.byName,
    gradients: tensorsOf(network, 'gradient'),
    packs: new PackList(),
  });
  const all = r.tensor('all parameters', [totalParameters(network.parameters)]);
  const optimizer = {
    ...{ gradients: all, parameters: all, moment1: all, moment2: all, average: all },
    hyper: r.tensor('hyper', [8]),
    state: r.tensor('state', [4], 'float64'),
  };
  const bytes = r.input('bytes', [batch, height, width, config.channels], 'uint8');
  const condition = conditionInput(r, config, { n: batch, h: height, w: width });
  recordTrainingStep(r, { network, config }, { bytes, condition }, optimizer);
  return { config, ops: r.ops };
}

/** Returns how many images of this size the sampler draws as one batch. */
export function imagesPerSampledBatch({ model: options, height, width }) {
  return imagesPerBatch(modelOf(options), height, width, false);
}

/**
 * Records one front of the sampler. Returns its ops, those of the first row that a batch begins with, the passes that they
 * belong to and the model's configuration.
 */
export function recordedFront({ model: options, batch, height, width }) {
  const model = modelOf(options);
  const { config } = model;
  const passes = passesOf(model, width);
  const drawing = drawingOf(model, passes, { n: batch, h: height, w: width });
  const recorder = () => new Recorder(device, { parameters: model.raw.byName, packs: new PackList() });
  const [r, begin] = [recorder(), recorder()];
  const size = [batch, height, width, config.channels];
  const operands = {
    uniforms: r.tensor('uniforms', size),
    temperature: r.tensor('temperature', [1]),
    guidance: null,
    known: null,
    level: r.tensor('level', size, 'uint8'),
    image: drawing.canvas.image,
    logits: null,
  };
  recordFront(r, model, passes, drawing, 0, operands);
  recordBeginning(begin, model, passes, drawing);
  return { config, passes, ops: r.ops, firstRow: begin.ops };
}
