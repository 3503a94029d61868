// Checks whether a new run may begin in a folder, and whether the run that the folder holds can be resumed.
import { join } from 'node:path';
import { PixelCnnError } from '../errors.js';
import { newestCheckpoint, stepsIn } from '../train/checkpoint-folder.js';
import { UsageError } from './failure.js';
import { readMetrics } from './metrics.js';
import { checkpointsFolder, exists, metricsFile, modelFiles, summaryFile } from './run-folder.js';
import type { Terminal } from './terminal.js';

/** Throws a UsageError if the folder holds a run, whose files a new run would overwrite. */
export async function checkNoRun(path: string): Promise<void> {
  const found = await filesOf(path);
  if (found.length === 0) return;
  throw new UsageError(`train: ${path} already holds a run (${found.join(', ')})`, 'train', {
    remedy: `continue it with --resume --out ${path}, or choose another --out`,
  });
}

/**
 * Accepts a folder whose run has a checkpoint to resume from, and one whose run has saved nothing yet. The
 * latter begins anew and loses only the metrics of the steps before it was interrupted, which is noted on the
 * terminal.
 * @throws PixelCnnError ERR_NO_CHECKPOINT for a run whose checkpoints are gone, because beginning anew would
 * overwrite its other files.
 */
export async function checkResumable(path: string, terminal: Terminal): Promise<void> {
  const found = await filesOf(path);
  if (found.length === 0 || (await hasCheckpoint(join(path, checkpointsFolder)))) return;
  const { lastStep, saved } = await readMetrics(join(path, metricsFile));
  const kept = found.filter((name) => name !== metricsFile);
  if (saved || kept.length > 0) {
    const models = kept.filter((name) => name !== summaryFile).map((name) => join(path, name));
    const use = models.length === 0 ? '' : `; what was trained is in ${models.join(' and ')}`;
    throw new PixelCnnError(
      'ERR_NO_CHECKPOINT',
      `train: ${path} holds a run (${found.join(', ')}) but no checkpoint to resume it from`,
      { remedy: `put its ${checkpointsFolder}/ back, or begin a new run in another --out${use}` },
    );
  }
  const lost = lastStep === 0 ? '' : `, without the metrics of ${lastStep} steps`;
  terminal.note(`${path}: interrupted before its first checkpoint, begins anew${lost}`, 'yellow');
}

async function filesOf(path: string): Promise<string[]> {
  const names = [metricsFile, ...Object.values(modelFiles), summaryFile];
  const there = await Promise.all(names.map((name) => exists(join(path, name))));
  return names.filter((_, i) => there[i]);
}

/** Whether there is a checkpoint. If all are damaged, train() reports that. */
async function hasCheckpoint(folder: string): Promise<boolean> {
  if (!(await exists(folder))) return false;
  if ((await stepsIn(folder)).length > 0) return true;
  return (await newestCheckpoint(folder)).found !== undefined;
}
