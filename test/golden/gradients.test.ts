// Tests gradients of whole models against PyTorch, through one recorded training step with rate 0.
import { describe, expect, it } from 'vitest';
import { encodeSafetensors } from '../../src/checkpoint/safetensors.js';
import { recordTrainingStep } from '../../src/models/network.js';
import { ParameterSet } from '../../src/models/parameters.js';
import { PixelCNN } from '../../src/pixelcnn.js';
import { ArenaLayout } from '../../src/program/arena.js';
import { Program } from '../../src/program/program.js';
import { Recorder } from '../../src/program/recorder.js';
import { expectClose, relativeL2 } from '../helpers/close.js';
import { GoldenFile, goldenMissing } from '../helpers/golden-files.js';
import { testDevice } from '../helpers/models.js';
import { skipAloud } from '../helpers/skip.js';
import { maskOf } from '../oracle/masked-conv2d.js';
import { networkGradients } from '../oracle/network.js';

const device = testDevice();

type Gradients = ReturnType<typeof networkGradients>;
const parameterNames = (file: GoldenFile) => [...file.startingWith('param.').keys()];

const names = ['pixelcnn_default', 'pixelcnn_small_binary', 'pixelcnn_rgb'];
describe.each(
  names.flatMap((name) => (['direct', 'winograd'] as const).map((algorithm) => ({ name, algorithm }))),
)('$name with $algorithm', ({ name, algorithm }) => {
  const skip = skipAloud(`gradients of ${name}`, goldenMissing(`${name}.safetensors`));
  it.skipIf(skip)('gradients and likelihoods agree with PyTorch', async () => {
    const file = new GoldenFile(`${name}.safetensors`);
    const model = await PixelCNN.load(device(), encodeSafetensors(file.startingWith('param.')));
    const { networks, raw } = model.internals();
    const [count, channels, height, width] = file.shape('images') as [number, number, number, number];

    const layout = new ArenaLayout();
    const configs = raw.layers.map(({ config }) => config);
    const gradients = new ParameterSet(layout, configs, 'gradient');
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
    const arena = await layout.allocate(device());
    await arena.write(optimizer.hyper, Float32Array.of(0, 0.9, 0.999, 1e-8, 0, 0, 0, 0));

    const r = new Recorder(device());
    const bytes = r.input('bytes', [count, height, width, channels], 'uint8');
    r.output(recordTrainingStep(r, networks.raw, bytes, gradients.layers, optimizer, algorithm));
    const program = await Program.compile(r);
    const [nats] = await program.run([Uint8Array.from(file.nhwc('images'))]);

    // Where a value lies on a ReLU's kink up to float32's rounding, the gradient of either side is right.
    const levels = file.nhwc('levels');
    const reference = new Map(parameterNames(file).map((name) => [name, file.values(`param.${name}`)]));
    const size = { n: count, h: height, w: width };
    const sides = (within: number) =>
      (['on', 'off'] as const).map((side) =>
        networkGradients(model.config, reference, size, levels, { within, side }),
      );
    const measured = await gradients.read(arena);
    const distance = (name: string, expected: ArrayLike<number>) =>
      relativeL2(measured.get(name)!.data, expected);
    const off = parameterNames(file).filter((name) => !(distance(name, file.values(`grad.${name}`)) <= 1e-5));
    if (off.length > 0) {
      const [on, below] = sides(1e-8) as [Gradients, Gradients];
      console.info(`${name}: a value lies ${on.nearestKink} from a kink, which moves ${off.join(', ')}`);
      expect(on.nearestKink, `${off.join(', ')} differ, and no value lies on a kink`).toBeLessThan(1e-8);
      const best = [on, below].map(({ gradients: side }) =>
        Math.max(...parameterNames(file).map((parameter) => distance(parameter, side.get(parameter)!))),
      );
      expect(Math.min(...best), 'distance to the gradients of either side').toBeLessThanOrEqual(1e-5);
    }

    expectClose('nats', new Float64Array(nats!), file.values('nllNatsPerImage'));
    for (const { config } of raw.layers) {
      const { data } = measured.get(`${config.name}.weight`)!;
      const { c, k, kernelSize: side } = config;
      const shape = { ...size, c, k, size: side, mask: config.maskType, groups: config.channelGroups };
      const wrong = data.findIndex((value, i) => {
        const filter = Math.floor(i / side ** 2);
        const [r, s] = [Math.floor(i / side) % side, i % side];
        return value !== 0 && maskOf(shape, Math.floor(filter / c), filter % c, r, s) === 0;
      });
      expect(wrong, `${config.name}: gradient under the mask`).toBe(-1);
    }
    expect(measured.size).toBe(2 * model.config.layers);
    program.dispose();
    arena.release();
    await model.dispose();
  });
});
