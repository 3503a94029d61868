// Defines `pixelcnn evaluate`, which computes the likelihood of a dataset under a named protocol.
import { z } from '../../options.js';
import { evaluate, evaluateSchema } from '../../train/evaluate.js';
import type { Command } from '../command.js';
import { deviceOptions, interruptSignal, modelOption, outputOptions, withModel } from '../common.js';
import {
  imageOptions,
  imagesText,
  noteOtherSize,
  readImages,
  sizeOf,
  unitOf,
  valuesFor,
} from '../image-options.js';
import { countedProgress, ProgressLine } from '../progress.js';
import { table, thousands } from '../terminal.js';

const schema = z.strictObject({
  model: modelOption,
  data: z.string().min(1).describe(imagesText),
  ...imageOptions,
  ...evaluateSchema.omit({ signal: true, onEvent: true }).shape,
  ...deviceOptions,
  ...outputOptions,
});

export const evaluateCommand: Command<typeof schema> = {
  name: 'evaluate',
  summary: 'Negative log-likelihood of every image of a dataset, in nats and bits per dimension.',
  schema,
  positional: 'model',
  examples: [
    'pixelcnn evaluate runs/demo --data mnist:test',
    'pixelcnn evaluate runs/demo/model.safetensors --data mnist:test --json',
  ],

  run(options) {
    const { protocol, draws, seed, algorithm } = options;
    const signal = interruptSignal();
    return withModel('evaluate', options, async (model, terminal, source) => {
      const wanted = { ...options, values: valuesFor(model, options) };
      const images = await readImages(options.data, wanted, terminal, signal);
      noteOtherSize(options.data, images, model, terminal);
      const onEvent = countedProgress(new ProgressLine(terminal), 'evaluating', unitOf(options));
      const settings = { protocol, weights: source.weights, draws, seed, algorithm, signal, onEvent };
      const result = await evaluate(model, images, settings);
      const { nats, bitsPerDim, natsPerDraw } = result;
      const rows = [
        ['nats', nats.toFixed(4), options.crops === undefined ? 'per image' : 'per crop'],
        ['bits/dim', bitsPerDim.toFixed(5), ''],
        [
          unitOf(options),
          thousands(result.images),
          `${options.crops === undefined ? '' : `${options.crops} of each image, `}${options.data}, ${sizeOf(images)}`,
        ],
        ...(images.split ? [['split', images.split, '']] : []),
        ['protocol', protocol, ''],
        ['weights', result.weights, source.model],
      ];
      if (protocol === 'dynamic') {
        const spread = Math.max(...natsPerDraw) - Math.min(...natsPerDraw);
        rows.push([
          'draws',
          String(natsPerDraw.length),
          natsPerDraw.length > 1 ? `range ${spread.toFixed(4)} nats` : '',
        ]);
      }
      terminal.result(table(rows), {
        ...result,
        model: source.model,
        data: options.data,
        split: images.split ?? null,
        height: images.height,
        width: images.width,
        channels: images.channels,
        crops: options.crops ?? null,
        draws: natsPerDraw.length,
        notes: images.notes,
      });
      return 0;
    });
  },
};
