// Finds where a run starts: at step 0, or at the checkpoint that it resumes, which is restored to the device.
import type { ImageBatch } from '../data/image-batch.js';
import type { PixelCnnConfig } from '../models/config.js';
import { type CheckpointFolder, type NewestCheckpoint, readTrainingCheckpoint } from './checkpoint-folder.js';
import type { ResumeEvent } from './events.js';
import type { TrainSettings } from './options.js';
import { digestOf, fromCheckpoint, type RunPosition } from './training-state.js';
import type { TrainingStep } from './training-step.js';

export interface RunStart {
  readonly position: RunPosition;
  /** Steps that the run skipped before. */
  readonly skipped: number;
  /** The checkpoint that was restored; undefined for a new run. */
  readonly resumed: ResumeEvent | undefined;
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
  const digest = folder === undefined && resume === false ? '' : await digestOf(dataset, 'dataset.data');
  if (found === undefined) {
    if (resume === false) await folder?.continueFrom(0, []);
    return { position: { ...firstPosition, digest }, skipped: 0, resumed: undefined };
  }
  const { position, snapshot } = fromCheckpoint(found.file, found.path, config, settings, digest);
  await folder?.continueFrom(position.step, skipped);
  await step.restore(snapshot);
  const resumed: ResumeEvent = { type: 'resume', step: position.step, path: found.path, skipped };
  return { position, skipped: snapshot.counters[2]!, resumed };
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
