// Finds the safetensors file of a command's model: the given file, the best choice from the folder of a run, or a
// pretrained model.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeModel } from '../checkpoint/model-file.js';
import { asPath, fullName, pretrainedHint, pretrainedName } from '../checkpoint/pretrained.js';
import { readFileBounded } from '../data/read-file.js';
import { PixelCnnError } from '../errors.js';
import type { Weights } from '../models/weights.js';
import { newestCheckpoint, newestStep } from '../train/checkpoint-folder.js';
import { checkpointsFolder, exists, modelFiles, readRunConfig, readSummary } from './run-folder.js';
import type { Terminal } from './terminal.js';

/**
 * Returns `path` if it is a file, and the full name of a pretrained model if it means one. If it is the folder
 * of a run, returns the model with averaged weights if the run has one, else that with the raw weights; if there
 * is neither, the newest complete checkpoint. `weights` asks for one of the two.
 * @throws PixelCnnError ERR_NO_MODEL for a folder without any of them; ERR_NO_CHECKPOINT if all checkpoints
 * are damaged.
 */
export async function findModelFile(
  path: string,
  weights: Weights | undefined,
  terminal: Terminal,
): Promise<string> {
  const pretrained = await pretrainedName(path);
  if (pretrained !== undefined) return fullName(pretrained);
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false, // reading the path reports the error
  );
  if (!isFolder) return path;
  for (const file of await modelsOf(path, weights)) {
    if (!(await exists(file))) continue;
    await noteNewerCheckpoint(path, file, terminal);
    return asPath(file);
  }
  for (const folder of [join(path, checkpointsFolder), path]) {
    if (!(await exists(folder))) continue;
    const { found, skipped } = await newestCheckpoint(folder);
    for (const { path: damaged, reason } of skipped)
      terminal.note(`skipped checkpoint ${damaged}: ${reason}`, 'yellow');
    if (found !== undefined) return asPath(found.path);
  }
  // Only a model with other weights than asked for is left; the caller refuses it with an error that says so.
  for (const file of await modelsOf(path, undefined)) if (await exists(file)) return asPath(file);
  throw new PixelCnnError('ERR_NO_MODEL', `${path} is a folder without a model or a checkpoint in it`, {
    remedy: (await remedyFor(path)) + pretrainedHint(path),
  });
}

/** Returns the paths of the models that a finished run saves, the preferred one first. */
async function modelsOf(path: string, weights: Weights | undefined): Promise<string[]> {
  if (weights !== undefined) return [join(path, modelFiles[weights])];
  // A run that was resumed without an average may still hold an averaged model of its earlier part.
  const { emaDecay } = (await readRunConfig(path)) ?? {};
  const wanted: readonly Weights[] = emaDecay === 0 ? ['raw'] : ['ema', 'raw'];
  return wanted.map((held) => join(path, modelFiles[held]));
}

/**
 * Notes if a model is not that of the newest checkpoint: a run that was resumed after its end keeps its old
 * models until it ends again. A model of an earlier release does not hold its step, so the summary's counts.
 */
async function noteNewerCheckpoint(path: string, file: string, terminal: Terminal): Promise<void> {
  const newest = await newestStep(join(path, checkpointsFolder)).catch(() => undefined);
  if (newest === undefined) return;
  const { steps, stopped } = (await readSummary(path)) ?? {};
  const { step } = decodeModel(await readFileBounded(file), {}, file);
  const known = step ?? steps;
  const same = known === newest.step && (step !== undefined || stopped !== true);
  if (typeof known !== 'number' || same) return;
  const relation = known > newest.step ? `is of step ${known}, later than` : 'is older than';
  terminal.note(`${file} ${relation} the run: its newest checkpoint is ${newest.path}`, 'yellow');
}

/** Returns a remedy that lists the runs in a folder, for a user who gave the folder of all runs. */
async function remedyFor(path: string): Promise<string> {
  const names = (await readdir(path)).map((name) => join(path, name));
  const runs: string[] = [];
  for (const name of names) if (await exists(join(name, 'config.json'))) runs.push(name);
  if (runs.length === 0) return 'give a safetensors file, or the folder of a run that has saved a checkpoint';
  const shown = runs.slice(0, 5).join(', ');
  return `give one of the runs in it: ${shown}${runs.length > 5 ? ', …' : ''}`;
}
