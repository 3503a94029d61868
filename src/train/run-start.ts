// Finds where a run starts: at step 0, or at the checkpoint that it resumes, which is restored to the device.
import type { ImageBatch } from '../data/image-batch.js';
import type { PixelCnnConfig } from '../models/config.js';
import { type CheckpointFolder, type NewestCheckpoint, readTrainingCheckpoint } from './checkpoint-folder.js';
import type { NumericsChangedEvent, ResumeEvent } from './events.js';
import { type Numerics, sameNumerics } from './numerics.js';
import type { TrainSettings } from './options.js';
import { digestOf, fromCheckpoint, type RunPosition } from './training-state.js';
import type { TrainingStep } from './training-step.js';

export interface RunStart {
  readonly position: RunPosition;
  /** Steps that the run skipped before. */
  readonly skipped: number;
  /** The checkpoint that was restored; undefined for a new run. */
  readonly resumed: ResumeEvent | undefined;
  /** Says that the checkpoint was computed otherwise than the run will be; undefined if not, and for a new run. */
  readonly numericsChanged: NumericsChangedEvent | undefined;
  /** The names of the classes in the checkpoint, if it knows them. */
  readonly classNames: readonly string[] | undefined;
}

/**
 * Finds where a run starts, and restores the checkpoint that it resumes, if any. `folder` is the checkpoint
 * folder, if the run has one, and `config` that of the model.
 */
export async function startRun(
  step: TrainingStep,
  folder: CheckpointFolder | undefined,
  config: PixelCnnConfig,
  dataset: ImageBatch,
  settings: TrainSettings,
): Promise<RunStart> {
  const { resume } = settings;
  // The checkpoint comes first, so that one that cannot be read is refused before a large dataset is hashed.
  const { found, skipped } = await checkpointToResume(resume, folder);
  // Computed now, because the caller may have transferred the images when the last checkpoint is written.
  const digest =
    folder === undefined && resume === false
      ? ''
      : await digestOf(dataset, 'dataset.data', settings.condition);
  if (found === undefined) {
    if (resume === false) await folder?.continueFrom(0, []);
    const position = { ...firstPosition, digest };
    return { position, skipped: 0, resumed: undefined, numericsChanged: undefined, classNames: undefined };
  }
  const { file, path } = found;
  const { position, snapshot, numerics } = fromCheckpoint(file, path, config, settings, digest);
  await folder?.continueFrom(position.step, skipped);
  await step.restore(snapshot);
  const resumed: ResumeEvent = { type: 'resume', step: position.step, path, skipped };
  const numericsChanged = changeOf(position.step, numerics, step.numerics);
  const { classNames } = file;
  return { position, skipped: snapshot.counters[2]!, resumed, numericsChanged, classNames };
}

/** Returns the event that says so if the numerics differ, or if those of the checkpoint are not known. */
function changeOf(step: number, from: Numerics | null, to: Numerics): NumericsChangedEvent | undefined {
  if (from !== null && sameNumerics(from, to)) return undefined;
  return { type: 'numericsChanged', step, from, to };
}

const firstPosition = { step: 0, epochNats: 0, epochImages: 0, bestNats: null, bestOf: undefined };

async function checkpointToResume(
  resume: boolean | string,
  folder: CheckpointFolder | undefined,
): Promise<NewestCheckpoint> {
  if (typeof resume === 'string')
    return { found: { path: resume, file: await readTrainingCheckpoint(resume) }, skipped: [] };
  if (resume && folder !== undefined) return folder.newest();
  return { found: undefined, skipped: [] };
}
