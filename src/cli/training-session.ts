// Runs `pixelcnn train`: reads images, opens the device, creates and trains the model, and saves the files at the end.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { systemError } from '../errors.js';
import { type Condition, conditionText } from '../models/config.js';
import { weightSets } from '../models/weights.js';
import { totalParameters } from '../ops/declarations.js';
import { PixelCNN } from '../pixelcnn.js';
import { hyperparameters } from '../train/options.js';
import { train } from '../train/trainer.js';
import { checkNoRun, checkResumable } from './begun-run.js';
import { Interrupted, openNamedDevice } from './common.js';
import { checkLabelled, classesOf } from './conditions.js';
import { UsageError } from './failure.js';
import { checkNamedSplit, countText, readImages, sizeOf } from './image-options.js';
import { modelFiles, newRunPath, RunFolder, stemOf } from './run-folder.js';
import { Session } from './session.js';
import { StopRequest } from './stop-request.js';
import { Terminal, thousands } from './terminal.js';
import { checkTestImages, evaluateTest, readTestImages } from './test-evaluation.js';
import { modelOptionsOf, type ResolvedFlags, type TrainFlags } from './train-flags.js';

/**
 * Trains as the options say and returns the exit code. All images are read and checked before the run begins. A
 * test evaluation that fails is reported only after the summary is written. `reword` replaces the library's names
 * of options by flags.
 */
export async function runTraining(flags: TrainFlags, reword: (text: string) => string): Promise<number> {
  const path = flags.out ?? newRunPath(flags.preset ?? stemOf(flags.data));
  const terminal = new Terminal(flags);
  if (flags.resume) await checkResumable(path, terminal);
  else await checkNoRun(path);
  const images = await readImages(flags.data, flags, terminal);
  const options = { ...flags, classes: flags.classes && classesOf(flags.classes, flags.data, images) };
  const condition = conditionOfFlags(options);
  const { validation } = options;
  const whole = { ...options, limit: undefined };
  const held = typeof validation === 'string' ? await readImages(validation, whole, terminal) : validation;
  if (typeof held === 'object') await checkNamedSplit('validation', String(validation), held);
  const test = await readTestImages(options, terminal);
  const notes = {
    data: images.notes,
    ...(typeof held === 'object' && { validation: held.notes }),
    ...(test !== undefined && { test: test.notes }),
  };
  if (options.crops !== undefined && options.crops > 1 && typeof held === 'number' && held > 0) {
    terminal.note(
      'validation holds out crops, and other crops of the same images are trained on: for an honest number give other images as --validation',
      'yellow',
    );
  }
  const device = await openNamedDevice(options, terminal);
  try {
    const { architecture, layers, levels } = options;
    const model = await PixelCNN.create(device, {
      ...modelOptionsOf(options),
      condition,
      channels: images.channels,
      seed: options.seed,
    });
    if (typeof held === 'object') checkLabelled('train', `--validation ${validation}`, model, held);
    if (test !== undefined) checkTestImages(test, model, images);
    const parameters = totalParameters(model.internals().network.parameters);
    terminal.note(`${options.data}: ${countText(images.count, options, sizeOf(images))}`, 'dim');
    const heldOut =
      typeof held === 'number'
        ? heldOutText(images.count, held, options)
        : `${countText(held.count, options)} of ${validation}`;
    terminal.note(`validation: ${heldOut}`, 'dim');
    const given = condition === undefined ? '' : `, given ${conditionText(condition)}`;
    terminal.note(
      `model: ${architecture}, ${layers} layers, ${thousands(parameters)} parameters, ${levels} levels${given}`,
      'dim',
    );
    const { batchSize, learningRate, schedule, protocol } = options;
    const rate = `learning rate ${learningRate} ${schedule}`;
    terminal.note(
      `training: ${lengthOf(options)}, batches of ${batchSize}, ${rate}, protocol ${protocol}, seed ${options.seed}`,
      'dim',
    );
    terminal.note(`run: ${path}`);
    terminal.record({ type: 'start', out: path, model: model.config, device: device.info, notes });

    const folder = await RunFolder.create(path);
    const session = new Session(options, folder, terminal, reword);
    const stop = new StopRequest();
    try {
      const settings = Object.keys(hyperparameters).map((key) => [key, options[key as keyof ResolvedFlags]]);
      const run = train(model, images, {
        ...Object.fromEntries(settings),
        validation: held,
        samples: options.samples,
        checkpointFolder: folder.checkpoints,
        resume: options.resume,
        onEvent: session.receive,
      });
      stop.attach(run, session.report.stopWords);
      const summary = await session.follow(run);
      let saved: readonly string[] = [];
      const tested: { test?: object | null; interrupted?: string } = {};
      let failure: unknown;
      if (!summary.stopped) {
        const save = async () => {
          saved = await saveModel(model, folder.path);
        };
        await session.save(save, stop, summary);
        if (test !== undefined) {
          try {
            const context = { terminal, signal: stop.signal };
            tested.test = await evaluateTest(model, test, options, context);
          } catch (error) {
            tested.test = null;
            const interrupted = error instanceof Interrupted;
            tested.interrupted = interrupted
              ? `test evaluation interrupted by ${error.signalName}`
              : `test evaluation failed: ${String(error)}`;
            if (!interrupted) failure = error; // it is thrown after the summary is written
          }
        }
      }
      const about = { device, saved, parameters, model: model.config, ...tested };
      await session.finish(summary, stop, about);
      if (failure !== undefined) throw failure;
      return stop.exitCode;
    } finally {
      stop.detach();
      terminal.clear();
      await folder.close();
      session.report.missingMetrics();
    }
  } finally {
    await device.dispose();
  }
}

/**
 * Saves a file for each set of weights that the model holds, and removes files of an earlier part of the run
 * with a set that it does not hold any more. Returns the paths of the saved files.
 */
async function saveModel(model: PixelCNN, folder: string): Promise<string[]> {
  const saved: string[] = [];
  for (const weights of model.weights) {
    const path = join(folder, modelFiles[weights]);
    await model.save(path, { weights });
    saved.push(path);
  }
  for (const weights of weightSets) {
    const path = join(folder, modelFiles[weights]);
    if (saved.includes(path)) continue;
    await rm(path, { force: true }).catch((cause: unknown) => {
      throw systemError(`cannot remove ${path}, which is of an earlier step`, cause);
    });
  }
  return saved;
}

/** Says how many of the images, or of their crops, are held out, or why none are. */
function heldOutText(count: number, share: number, options: Pick<TrainFlags, 'crops'>): string {
  const held = Math.floor(count * share);
  const percent = `${100 * share} % of ${countText(count, options)}`;
  if (share === 0) return 'none';
  return held === 0 ? `none, ${percent} is less than one` : `${thousands(held)} held out, ${percent}`;
}

/**
 * Returns the condition of the model. It may be left out if the run leaves it out for some images.
 * @throws UsageError for a condition to leave out in a model that has none.
 */
function conditionOfFlags({ classes, conditionDropout }: ResolvedFlags): Condition | undefined {
  if (classes) return { classes, ...(conditionDropout > 0 && { none: true }) };
  if (conditionDropout === 0) return undefined;
  throw new UsageError(`train: --condition-dropout ${conditionDropout} needs --classes`, 'train', {
    remedy: 'add --classes auto, or leave --condition-dropout out',
  });
}

function lengthOf({ epochs, steps }: Pick<TrainFlags, 'epochs' | 'steps'>): string {
  if (steps === undefined) return `${epochs ?? 1} epochs`;
  return epochs === undefined ? `${steps} steps` : `${epochs} epochs or ${steps} steps`;
}
