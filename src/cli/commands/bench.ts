// Defines `pixelcnn bench`, which measures how fast this machine trains and samples.
import { configSchema, optionOf } from '../../models/config.js';
import { parseConfig } from '../../models/parse-config.js';
import { z } from '../../options.js';
import { measureForward, measureSampling, measureTrainingStep, type Timing } from '../bench.js';
import type { Command } from '../command.js';
import { deviceOptions, openNamedDevice, outputOptions } from '../common.js';
import { Terminal, table } from '../terminal.js';
import { modelOptions, modelOptionsOf } from '../train-flags.js';

const side = z.int().min(1).max(4096).default(28);
const schema = z.strictObject({
  batch: z.int().min(1).max(4096).default(16).describe('images per training step, pass and sampling'),
  seconds: z.number().min(0).max(3600).default(2).describe('time for each measurement'),
  height: side.describe('pixels'),
  width: side.describe('pixels'),
  channels: configSchema.shape.channels.describe('1 for grey, 3 for RGB'),
  ...modelOptions,
  ...deviceOptions,
  ...outputOptions,
});

export const benchCommand: Command<typeof schema> = {
  name: 'bench',
  summary: 'Measures training step, forward pass and sampling on this machine.',
  schema,
  examples: ['pixelcnn bench', 'pixelcnn bench --threads 1 --seconds 5 --json'],

  async run(options) {
    const { batch, seconds, height, width } = options;
    const terminal = new Terminal(options);
    const model = parseConfig('bench', { ...modelOptionsOf(options), channels: options.channels });
    const device = await openNamedDevice(options, terminal);
    const shared = { model, seconds, height, width };
    const whole = { ...shared, batch };
    const sizes = [...new Set([1, batch])];
    const measurements: { name: string; batch: number; run: () => Promise<Timing> }[] = [
      { name: 'training step, auto', batch, run: () => measureTrainingStep(device, whole) },
      {
        name: 'forward, direct',
        batch,
        run: () => measureForward(device, { ...whole, algorithm: 'direct' }),
      },
      {
        name: 'forward, winograd',
        batch,
        run: () => measureForward(device, { ...whole, algorithm: 'winograd' }),
      },
      ...sizes.map((size) => ({
        name: 'sampling',
        batch: size,
        run: () => measureSampling(device, { ...shared, batch: size }),
      })),
    ];
    try {
      const results: (Timing & { name: string; batch: number })[] = [];
      for (const { name, batch: size, run } of measurements) {
        terminal.live(`measuring ${name}, batch ${size}`);
        results.push({ name, batch: size, ...(await run()) });
      }
      const rows = results.map((result) => [
        result.name,
        String(result.batch),
        result.milliseconds.toPrecision(4),
        result.imagesPerSecond.toPrecision(4),
        String(result.repeats),
      ]);
      const head = ['', 'batch', 'median ms', 'images/s', 'repeats'];
      const { channels, hiddenChannels, layers, kernelSize, levels } = model;
      const size = `${optionOf(model, 'architecture')}, ${height}x${width}x${channels}, ${hiddenChannels} hidden channels, ${layers} layers, ${kernelSize}x${kernelSize}, ${levels} levels`;
      terminal.result(`${size}\n\n${table([head, ...rows], [1, 2, 3, 4])}`, {
        device: device.info,
        model,
        height,
        width,
        results,
      });
      return 0;
    } finally {
      await device.dispose();
    }
  },
};
