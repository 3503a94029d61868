// The safetensors file that a command's model is in: the file itself, or the one to take from the folder of a run.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { decodeModel } from '../checkpoint/model-file.js';
import { readFileBounded } from '../data/read-file.js';
import { PixelCnnError } from '../errors.js';
import type { Weights } from '../models/weights.js';
import { newestCheckpoint, newestStep } from '../train/checkpoint-folder.js';
import { checkpointsFolder, exists, modelFiles, readRunConfig, readSummary } from './run-folder.js';
import type { Terminal } from './terminal.js';

/**
 * The file that `path` stands for. In the folder of a run that is the model with the average if the run has one, else the
 * one with the raw weights; while neither is there, the newest whole checkpoint. `weights` asks for either.
 * @throws PixelCnnError ERR_NO_MODEL for a folder without any of them; ERR_NO_CHECKPOINT if all checkpoints are damaged.
 */
export async function findModelFile(
  path: string,
  weights: Weights | undefined,
  terminal: Terminal,
): Promise<string> {
  const isFolder = await stat(path).then(
    (found) => found.isDirectory(),
    () => false, // reading it says what is wrong
  );
  if (!isFolder) return path;
  for (const file of await modelsOf(path, weights)) {
    if (!(await exists(file))) continue;
    await tellOfNewer(path, file, terminal);
    return file;
  }
  for (const folder of [join(path, checkpointsFolder), path]) {
    if (!(await exists(folder))) continue;
    const { found, skipped } = await newestCheckpoint(folder);
    for (const { path: damaged, reason } of skipped)
      terminal.note(`skipped checkpoint ${damaged}: ${reason}`, 'yellow');
    if (found !== undefined) return found.path;
  }
  // A model of other weights than are asked for: what uses it says so.
  for (const file of await modelsOf(path, undefined)) if (await exists(file)) return file;
  throw new PixelCnnError('ERR_NO_MODEL', `${path} is a folder without a model or a checkpoint in it`, {
    remedy: await remedyFor(path),
  });
}

/** The models that a finished run has saved, the one to prefer first. */
async function modelsOf(path: string, weights: Weights | undefined): Promise<string[]> {
  if (weights !== undefined) return [join(path, modelFiles[weights])];
  // A run that was resumed without an average may still have the model of one that it had before.
  const { emaDecay } = (await readRunConfig(path)) ?? {};
  const wanted: readonly Weights[] = emaDecay === 0 ? ['raw'] : ['ema', 'raw'];
  return wanted.map((held) => join(path, modelFiles[held]));
}

/**
 * A run that was resumed after its end has models of that end until it ends again. The model itself says of which step it
 * is; one of an earlier release does not, and is of the end that the summary tells of.
 */
async function tellOfNewer(path: string, file: string, terminal: Terminal): Promise<void> {
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

/** Names what lies a folder below, where somebody gave the folder of all runs. */
async function remedyFor(path: string): Promise<string> {
  const names = (await readdir(path)).map((name) => join(path, name));
  const runs: string[] = [];
  for (const name of names) if (await exists(join(name, 'config.json'))) runs.push(name);
  if (runs.length === 0) return 'give a safetensors file, or the folder of a run that has saved a checkpoint';
  const shown = runs.slice(0, 5).join(', ');
  return `give one of the runs in it: ${shown}${runs.length > 5 ? ', …' : ''}`;
}
