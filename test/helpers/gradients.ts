// Measures the gradients of a whole model, through one recorded training step with rate 0.
import type { ImageBatch } from '../../src/data/image-batch.js';
import { conditionInput } from '../../src/models/condition.js';
import { givenCondition } from '../../src/models/given-condition.js';
import { recordTrainingStep } from '../../src/models/network.js';
import { type NamedArrays, ParameterSet } from '../../src/models/parameters.js';
import type { PixelCNN } from '../../src/pixelcnn.js';
import type { Algorithm } from '../../src/program/algorithm.js';
import { ArenaLayout } from '../../src/program/arena.js';
import { PackList } from '../../src/program/pack-list.js';
import { Program } from '../../src/program/program.js';
import { Recorder } from '../../src/program/recorder.js';

/** The nats of each image, and the gradients of the mean over all values by parameter name. */
export async function measureGradients(
  model: PixelCNN,
  images: ImageBatch,
  algorithm: Algorithm,
): Promise<{ nats: Float64Array; gradients: NamedArrays }> {
  const { network, config, raw } = model.internals();
  const { device } = model;
  const layout = new ArenaLayout();
  const gradients = new ParameterSet(layout, network.parameters, 'gradient');
  const like = (what: string) => layout.add(what, raw.flat.shape, 'float32');
  const optimizer = {
    gradients: gradients.flat,
    hyper: layout.add('hyper', [8], 'float32'),
    state: layout.add('state', [4], 'float64'),
    parameters: raw.flat,
    moment1: like('moment1'),
    moment2: like('moment2'),
    average: like('average'),
  };
  const arena = await layout.allocate(device);
  await arena.write(optimizer.hyper, Float32Array.of(0, 0.9, 0.999, 1e-8, 0, 0, 0, 0));

  const { count, height, width, channels, data } = images;
  const given = givenCondition('measureGradients', model.internals(), {}, images, images);
  const r = new Recorder(device, {
    algorithm,
    parameters: raw.byName,
    gradients: gradients.byName,
    ...(device.packsOnce && { packs: new PackList() }),
  });
  const bytes = r.input('bytes', [count, height, width, channels], 'uint8');
  const condition = conditionInput(r, config, { n: count, h: height, w: width });
  r.output(recordTrainingStep(r, { network, config }, { bytes, condition }, optimizer));
  const program = await Program.compile(r);
  const [nats] = await program.run(given === undefined ? [data] : [data, given.values]);
  const measured = await gradients.read(arena);
  program.dispose();
  arena.release();
  return { nats: new Float64Array(nats!), gradients: measured };
}
