// Reads and writes the folder of a training run: config, metrics, samples, curve and summary.
import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { makeFolder, removeTemporaries } from '../checkpoint/atomic-file.js';
import type { ImageBatch } from '../data/image-batch.js';
import { PixelCnnError } from '../errors.js';
import type { Weights } from '../models/weights.js';
import { columnsInTurn } from './conditions.js';
import { UsageError } from './failure.js';
import { LearningCurve } from './learning-curve.js';
import { MetricsFile, type MetricsLine, type StepRange } from './metrics.js';
import { writeGrid, writeOutput } from './output-files.js';

export const runsFolder = 'runs';
/** Names of the models that a run saves in its folder at its end. */
export const modelFiles: Readonly<Record<Weights, string>> = {
  raw: 'model.safetensors',
  ema: 'model-ema.safetensors',
};
export const checkpointsFolder = 'checkpoints';
export const metricsFile = 'metrics.jsonl';
export const summaryFile = 'summary.json';

export class RunFolder {
  readonly path: string;
  readonly #curve: LearningCurve;
  #metrics: MetricsFile | undefined;

  private constructor(path: string) {
    this.path = path;
    this.#curve = new LearningCurve(`${basename(path)}: learning curve`);
  }

  static async create(path: string): Promise<RunFolder> {
    await makeFolder(path);
    return new RunFolder(path);
  }

  get checkpoints(): string {
    return join(this.path, checkpointsFolder);
  }

  get #samples(): string {
    return join(this.path, 'samples');
  }

  /**
   * Starts the metrics, or continues them after `step`. To be called when the run holds its folder's lock.
   * Returns steps up to `step` whose metrics are missing, if any.
   */
  async begin(step: number): Promise<StepRange | undefined> {
    await removeTemporaries(this.path);
    await removeTemporaries(this.#samples).catch(() => undefined); // the folder does not exist before the first sample
    const file = join(this.path, metricsFile);
    this.#metrics = await MetricsFile.open(file, step, (line) => this.#curve.add(line));
    return this.#metrics.gap;
  }

  /** Steps whose metrics could not be written. */
  get missingMetrics(): StepRange | undefined {
    return this.#metrics?.missing;
  }

  writeConfig(config: object): Promise<void> {
    return this.#writeJson('config.json', config);
  }

  append(line: MetricsLine): void {
    this.#metrics?.append(line);
    this.#curve.add(line);
  }

  /** Makes the metrics durable and draws the curve again. */
  async flush(): Promise<void> {
    await this.#metrics?.flush();
    if (!this.#curve.empty) await writeOutput(join(this.path, 'curve.svg'), this.#curve.svg());
  }

  /**
   * Writes a grid of images of a model of `levels`, named after `epoch`, which counts from 1. Of images whose classes
   * follow each other in turn, each column is of one class. Returns its path.
   */
  async writeSamples(
    epoch: number,
    images: ImageBatch,
    { levels, classes }: { readonly levels: number; readonly classes: number | false | undefined },
  ): Promise<string> {
    const path = join(this.#samples, `epoch-${String(epoch).padStart(3, '0')}.png`);
    const columns = classes ? columnsInTurn(classes, images.count) : undefined;
    const scale = images.width <= 64 ? 2 : 1;
    await writeGrid(path, images, { levels, scale, ...(columns !== undefined && { columns }) });
    return path;
  }

  writeSummary(summary: object): Promise<void> {
    return this.#writeJson(summaryFile, summary);
  }

  async close(): Promise<void> {
    await this.#metrics?.close();
  }

  #writeJson(name: string, content: object): Promise<void> {
    return writeOutput(join(this.path, name), `${JSON.stringify(content, null, 2)}\n`);
  }
}

/** Reads the config of a run; undefined if there is none. */
export async function readRunConfig(path: string): Promise<Record<string, unknown> | undefined> {
  const file = join(path, 'config.json');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    const config: unknown = JSON.parse(text);
    if (typeof config === 'object' && config !== null) return config as Record<string, unknown>;
  } catch {
    // The error below reports it, like any other content that is not an object.
  }
  throw new PixelCnnError('ERR_RUN_CONFIG', `${file} is not the config of a run`);
}

/** Reads the summary that a run writes at its end; undefined if there is none, or it is incomplete. */
export async function readSummary(path: string): Promise<Record<string, unknown> | undefined> {
  const text = await readFile(join(path, summaryFile), 'utf8').catch(() => '');
  try {
    return (JSON.parse(text) ?? undefined) as Record<string, unknown> | undefined;
  } catch {
    return undefined;
  }
}

export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}

/**
 * Finds the folder of the newest run that {@link newRunPath} named after `stem` or, without `stem`, of the
 * newest run.
 * @throws UsageError if there is none.
 */
export async function newestRun(stem: string | undefined): Promise<string> {
  const names = await readdir(runsFolder).catch(() => [] as string[]);
  const found = await Promise.all(
    names
      .filter((name) => stem === undefined || isNamedAfter(stem, name))
      .map(async (name) => {
        const path = join(runsFolder, name);
        const written = await stat(join(path, metricsFile)).catch(() => undefined);
        return { path, time: written?.mtimeMs ?? 0 };
      }),
  );
  const newest = found.filter(({ time }) => time > 0).sort((a, b) => b.time - a.time)[0];
  if (newest !== undefined) return newest.path;
  const wanted = stem === undefined ? 'no run' : `no run named ${stem}-<time>`;
  throw new UsageError(`train: nothing to resume: ${wanted} in ${runsFolder}/`, 'train', {
    remedy: 'start one without --resume, or name its folder with --out FOLDER',
  });
}

/** Makes the path of a new run from `stem` and the time, e.g. `runs/mnist-20251123-224501`. */
export function newRunPath(stem: string): string {
  const time = new Date()
    .toISOString()
    .replace(/[-:]/g, '')
    .replace('T', '-')
    .replace(/\.\d+Z$/, '');
  return join(runsFolder, `${stem}-${time}`);
}

/**
 * Whether `name` is `stem` and a time: `mnist-demo-20251123-224501` is named after `mnist-demo`, not `mnist`.
 */
function isNamedAfter(stem: string, name: string): boolean {
  return name.startsWith(`${stem}-`) && /^\d{8}-\d{6}$/.test(name.slice(stem.length + 1));
}

/**
 * Makes a name for runs on these images: the end of their path, without characters that file names should not have.
 */
export function stemOf(data: string): string {
  return (
    basename(data)
      .replace(/[^\w-]+/g, '-')
      .replace(/^-+|-+$/g, '') || 'run'
  );
}
