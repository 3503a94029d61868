// Defines `pixelcnn evaluate`, which computes the likelihood of a dataset under a named protocol.
import { z } from '../../options.js';
import { type ClassEvaluation, evaluate, evaluateSchema } from '../../train/evaluate.js';
import type { Command } from '../command.js';
import { deviceOptions, interruptSignal, modelOption, outputOptions, withModel } from '../common.js';
import { checkLabelled, classText } from '../conditions.js';
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
  ...evaluateSchema.omit({ labels: true, features: true, map: true, signal: true, onEvent: true }).shape,
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
  notes: 'A model of classes is given the label of each image, and its loss is also shown class by class.',

  run(options) {
    const { protocol, draws, seed, algorithm } = options;
    const signal = interruptSignal();
    return withModel('evaluate', options, async (model, terminal, source) => {
      const wanted = { ...options, values: valuesFor(model, options) };
      const images = await readImages(options.data, wanted, terminal, signal);
      checkLabelled('evaluate', options.data, model, images);
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
        ['protocol', result.protocol, ''],
        ['weights', result.weights, source.model],
        ...(result.given === null ? [] : [['given', result.given, '']]),
      ];
      if (result.protocol === 'dynamic') {
        const spread = Math.max(...natsPerDraw) - Math.min(...natsPerDraw);
        rows.push([
          'draws',
          String(natsPerDraw.length),
          natsPerDraw.length > 1 ? `range ${spread.toFixed(4)} nats` : '',
        ]);
      }
      const perClass = result.perClass === null ? '' : `\n\n${classTable(result.perClass)}`;
      terminal.result(`${table(rows)}${perClass}`, {
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

function classTable(perClass: readonly ClassEvaluation[]): string {
  const rows = perClass.map((one) => {
    const { images, nats, bitsPerDim } = one;
    return [classText(one), thousands(images), nats.toFixed(4), bitsPerDim.toFixed(5)];
  });
  return table([['class', 'images', 'nats', 'bits/dim'], ...rows], [1, 2, 3]);
}
