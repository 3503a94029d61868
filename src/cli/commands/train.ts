// Defines `pixelcnn train`, whose options come from flags, config file, the run to resume, preset and defaults.
import { hyperparameters } from '../../train/options.js';
import { type Preset, presets } from '../../train/presets.js';
import type { Command } from '../command.js';
import { UsageError } from '../failure.js';
import { errorText } from '../help.js';
import { newestRun, readRunConfig, stemOf } from '../run-folder.js';
import { conditionFlags, dataOptions, modelOptions, runOptions, trainFlags } from '../train-flags.js';
import { runTraining } from '../training-session.js';

const presetList = Object.entries(presets).map(([name, { description }]) => `${name} (${description})`);

export const trainCommand: Command<typeof trainFlags> = {
  name: 'train',
  summary: 'Trains a model and keeps everything about the run in one folder.',
  schema: trainFlags,
  synonyms: { checkpointFolder: 'out' },
  groups: {
    Run: Object.keys(runOptions),
    Data: Object.keys(dataOptions),
    Model: Object.keys({ ...modelOptions, ...conditionFlags }),
    Training: Object.keys(hyperparameters),
  },
  examples: [
    'pixelcnn train --preset mnist-demo',
    'pixelcnn train --data photos --resize 32 --channels 3 --levels 32 --epochs 20 --out runs/photos',
    'pixelcnn train --resume --out runs/photos --epochs 40',
    'pixelcnn train --data pets --resize 32 --classes auto --condition-dropout 0.1 --out runs/pets',
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
    const options = override(override(presetOptions(given.preset ?? resumed.preset), resumed), given);
    if (given.classes !== false) return options;
    // Without classes there is nothing to leave out. If the user asks for both, the run is refused.
    const { conditionDropout: _, ...rest } = options;
    return rest;
  },
  run: (options) => runTraining(options, (text) => errorText(text, trainCommand)),
};

type Options = Readonly<Record<string, unknown>>;

/** Overrides options by others. A length of the run, in epochs or in steps, replaces both of `lower`. */
function override(lower: Options, upper: Options): Options {
  const { epochs: _, steps: __, ...rest } = lower;
  const hasLength = upper.epochs !== undefined || upper.steps !== undefined;
  return { ...(hasLength ? rest : lower), ...upper };
}

function presetOptions(name: unknown): Record<string, unknown> {
  if (typeof name !== 'string' || !Object.hasOwn(presets, name)) return {};
  const { model, training, description: _, ...rest }: Preset = presets[name as keyof typeof presets];
  const { condition, ...sizes } = model;
  return { ...rest, ...sizes, ...(condition !== undefined && { classes: condition.classes }), ...training };
}

/**
 * Returns the config of the run to resume. It is empty if --out names a folder without a run: then a new run begins there.
 */
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
