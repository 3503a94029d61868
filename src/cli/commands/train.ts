// `pixelcnn train`: its options, and where they come from: flags, config file, the run to resume, preset, defaults.
import { configSchema } from '../../models/config.js';
import { z } from '../../options.js';
import { hyperparameters } from '../../train/options.js';
import { type Preset, presets } from '../../train/presets.js';
import type { Command } from '../command.js';
import { deviceOptions, outputOptions } from '../common.js';
import { UsageError } from '../failure.js';
import { errorText } from '../help.js';
import { imageOptions, imagesText } from '../image-options.js';
import { newestRun, readRunConfig, stemOf } from '../run-folder.js';
import { runTraining } from '../training-session.js';

const { hiddenChannels, layers, levels, kernelSize } = configSchema.shape;
const dataOptions = {
  data: z.string().min(1).describe(imagesText),
  ...imageOptions,
  validation: z
    .union([z.number().min(0).max(0.5), z.string().min(1)])
    .default(0.05)
    .describe('share of the images to hold out, or other images; validated after every epoch'),
  test: z
    .union([z.string().min(1), z.literal(false)])
    .optional()
    .describe('images to evaluate once at the end, e.g. mnist:test; --no-test leaves out those of a preset'),
  testLimit: z.int().min(1).max(1e9).optional().describe('evaluate the first N images of --test only'),
};
const modelOptions = {
  hiddenChannels: hiddenChannels.describe('channels of every hidden layer'),
  layers: layers.describe('masked convolutions, the first and the last included'),
  levels: levels.describe('values of a pixel: 256 for 8-bit images, 2 for binary ones'),
  kernelSize: kernelSize.describe('size of all filters but the last, odd'),
};
const runOptions = {
  preset: z
    .enum(Object.keys(presets) as [keyof typeof presets])
    .optional()
    .describe('a starting point whose values the other options override, see below'),
  out: z.string().min(1).optional().describe('folder of the run (default runs/<preset or data>-<time>)'),
  resume: z
    .boolean()
    .default(false)
    .describe('continue the run in --out, or else the newest run, from its newest checkpoint'),
  samples: z.int().min(0).max(1024).default(64).describe('images to draw after every epoch'),
};

export const trainSchema = z.strictObject({
  ...runOptions,
  ...dataOptions,
  ...modelOptions,
  ...hyperparameters,
  ...deviceOptions,
  ...outputOptions,
});
export type TrainFlags = z.output<typeof trainSchema>;

const presetList = Object.entries(presets).map(([name, { description }]) => `${name} (${description})`);

export const trainCommand: Command<typeof trainSchema> = {
  name: 'train',
  summary: 'Trains a model and keeps everything about the run in one folder.',
  schema: trainSchema,
  synonyms: { checkpointFolder: 'out' },
  groups: {
    Run: Object.keys(runOptions),
    Data: Object.keys(dataOptions),
    Model: Object.keys(modelOptions),
    Training: Object.keys(hyperparameters),
  },
  examples: [
    'pixelcnn train --preset mnist-demo',
    'pixelcnn train --data photos --resize 32 --channels 3 --levels 32 --epochs 20 --out runs/photos',
    'pixelcnn train --resume --out runs/photos --epochs 40',
  ],
  notes:
    `Presets: ${presetList.join(', ')}. ` +
    'What is given of --epochs and --steps replaces both of the preset or of the run to resume. ' +
    'Ctrl-C, SIGTERM, SIGHUP, SIGUSR1 and SIGUSR2 finish the step and save. A full disk ends nothing: ' +
    'training goes on, and the last save waits for space, 10 minutes at most. ' +
    'Exit codes: 0 done; 1 failed; 2 wrong options; 128 + N stopped and saved after signal N; ' +
    '74 done, but what was to be printed did not reach its reader (metrics.jsonl has every line, unless it says otherwise).',

  async base(given) {
    const resumed = given.resume === true ? await resumedRun(given) : {};
    return override(override(presetOptions(given.preset ?? resumed.preset), resumed), given);
  },
  run: (options) => runTraining(options, (text) => errorText(text, trainCommand)),
};

type Options = Readonly<Record<string, unknown>>;

/** `upper` over `lower`. A length of the run, be it in epochs or in steps, replaces the one below as a whole. */
function override(lower: Options, upper: Options): Options {
  const { epochs: _, steps: __, ...rest } = lower;
  const hasLength = upper.epochs !== undefined || upper.steps !== undefined;
  return { ...(hasLength ? rest : lower), ...upper };
}

function presetOptions(name: unknown): Record<string, unknown> {
  if (typeof name !== 'string' || !Object.hasOwn(presets, name)) return {};
  const { model, training, description: _, ...rest }: Preset = presets[name as keyof typeof presets];
  return { ...rest, ...model, ...training };
}

/** The config of the run to continue; empty when --out names a folder without one, which then is begun. */
async function resumedRun(given: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>> {
  const { out, preset, data } = given;
  const stem = typeof preset === 'string' ? preset : typeof data === 'string' ? stemOf(data) : undefined;
  const path = typeof out === 'string' ? out : await newestRun(stem);
  const config = await readRunConfig(path);
  if (config === undefined && data === undefined && preset === undefined) {
    throw new UsageError(`train: there is no run in ${path} to resume`, 'train', {
      remedy: 'give the folder of a run as --out, or --data to begin one there',
    });
  }
  return { ...config, out: path };
}
