// Writes the events of a training run to its folder, to stdout and to the screen, and its summary at the end.
import { relative } from 'node:path';
import type { Device } from '../device/device.js';
import { PixelCnnError } from '../errors.js';
import type { TrainEvent, TrainSummary } from '../train/events.js';
import type { TrainingRun } from '../train/training-run.js';
import { packageVersion } from '../version.js';
import { type RunFolder, readSummary } from './run-folder.js';
import type { StopRequest } from './stop-request.js';
import { summaryOf } from './summary.js';
import { duration, type Terminal, thousands } from './terminal.js';
import type { ResolvedFlags } from './train-flags.js';
import { TrainingReport } from './training-report.js';

export class Session {
  readonly report: TrainingReport;
  readonly #options: ResolvedFlags;
  readonly #folder: RunFolder;
  readonly #terminal: Terminal;
  /** Resolves when all events so far are handled, one after the other, in the order in which they came. */
  #handled: Promise<void> = Promise.resolve();
  #failure: { readonly error: unknown } | undefined;
  #begun = false;
  #steps = 0;
  /** Whether this part of the run had a step, an epoch or a validation, which change the summary. */
  #news = false;

  /** `reword` replaces the library's names of options by flags. */
  constructor(
    options: ResolvedFlags,
    folder: RunFolder,
    terminal: Terminal,
    reword: (text: string) => string,
  ) {
    this.#options = options;
    this.#folder = folder;
    this.#terminal = terminal;
    this.report = new TrainingReport(folder, terminal, options.batchSize, reword);
  }

  /**
   * Queues an event of the run. Throws the error of an earlier event that could not be handled, which ends
   * the run.
   */
  readonly receive = (event: TrainEvent): void => {
    if (this.#failure !== undefined) throw this.#failure.error;
    this.#handled = this.#handled.then(() => this.#handle(event));
    this.#handled.catch((error) => {
      this.#failure ??= { error };
    });
  };

  /** Waits until the run has ended and all of its events are handled. */
  async follow(run: TrainingRun): Promise<TrainSummary> {
    run.beforeCheckpoint(() => this.#flush());
    try {
      // `receive` has had the events. A run keeps those that nobody takes, with the images of 16 epochs.
      for await (const _ of run);
      return await run;
    } finally {
      await this.#handled;
    }
  }

  async #handle(event: TrainEvent): Promise<void> {
    // The folder stays as it is until the first event, which shows that the run fits the one that it resumes.
    if (!this.#begun) {
      const gap = await this.#folder.begin(event.type === 'resume' ? event.step : 0);
      if (gap !== undefined) this.report.gap(gap);
    }
    this.#begun = true;
    if (['step', 'epoch', 'validation'].includes(event.type)) this.#news = true;
    if (event.type === 'step') {
      // A resumed run that has nothing left to do keeps the config that it had.
      if (this.#steps === 0) await this.#folder.writeConfig(storedConfig(this.#options));
      this.#steps += 1;
    }
    const line = { ...(await this.#lineOf(event)), wallTime: Date.now() / 1000 };
    if (event.type !== 'validating' && event.type !== 'sampling') this.#folder.append(line);
    this.#terminal.record(line);
    this.report.show(event);
    this.report.lostOutput();
  }

  /** Returns the line about an event for metrics.jsonl and stdout, and writes the samples that it brings. */
  async #lineOf(event: TrainEvent) {
    switch (event.type) {
      case 'step': {
        const { stepsPerEpoch: _, totalSteps: __, ...rest } = event;
        return rest;
      }
      case 'sample': {
        const { type, step, epoch, images } = event;
        const path = await this.#attempt('samples', () =>
          this.#folder.writeSamples(epoch + 1, images, this.#options),
        );
        const { weights, seed } = images;
        return { type, step, epoch, path: path === undefined ? null : this.#within(path), weights, seed };
      }
      case 'checkpoint': {
        const { removed, ...rest } = event;
        const gone = removed.length > 0 ? { removed: removed.map((path) => this.#within(path)) } : {};
        return { ...rest, path: this.#within(event.path), ...gone };
      }
      case 'validation':
        return this.#withCrops(event);
      case 'resume':
      case 'waitingForDisk':
        return { ...event, path: this.#within(event.path) };
      default:
        return event;
    }
  }

  /**
   * Writes the metrics to the disk before each checkpoint. They must not be older than the checkpoint, because a
   * resumed run continues after it.
   */
  async #flush(): Promise<void> {
    await this.#handled;
    await this.#attempt('metrics and curve', () => this.#folder.flush());
  }

  /**
   * Saves something that the run can do without for a while: a full disk may have space again the next time.
   */
  async #attempt<Result>(subject: string, save: () => Promise<Result>): Promise<Result | undefined> {
    try {
      const result = await save();
      this.report.savedAgain(subject);
      return result;
    } catch (error) {
      if (!(error instanceof PixelCnnError)) throw error;
      this.report.notSaved(subject, error);
      return undefined;
    }
  }

  /** Saves a file of the run when it has ended. Waits for space on a full disk. */
  async save(
    save: () => Promise<void>,
    stop: StopRequest,
    { checkpoint, steps }: TrainSummary,
  ): Promise<void> {
    this.report.trained = true;
    try {
      await stop.saveOrWait(save, (error) => this.report.waitingForDisk(error));
    } catch (cause) {
      if (!(cause instanceof PixelCnnError) || checkpoint === undefined) throw cause;
      const remedy = `the weights are safe: ${checkpoint} holds step ${steps}; when there is room, --resume --out ${this.#folder.path} writes its models and its summary`;
      throw new PixelCnnError(cause.code, cause.message, { remedy, cause });
    }
  }

  /** Writes the summary and says how the run ended. */
  async finish(
    summary: TrainSummary,
    stop: StopRequest,
    context: {
      device: Device;
      saved: readonly string[];
      parameters: number;
      model: object;
      test?: object | null;
      interrupted?: string;
    },
  ): Promise<void> {
    const { imagesPerSecond } = this.report;
    const { device, saved, ...about } = context;
    const { checkpoint } = summary;
    const ended = {
      ...summary,
      validation: summary.validation && this.#withCrops(summary.validation),
      ...(checkpoint !== undefined && { checkpoint: this.#within(checkpoint) }),
      ...about,
      imagesPerSecond: Number.isFinite(imagesPerSecond) ? imagesPerSecond : null,
      device: device.info,
      versions: { pixelcnn: packageVersion(), node: process.versions.node },
      finishedAt: new Date().toISOString(),
    };
    const { path } = this.#folder;
    const before = await readSummary(path);
    const { written, complete } = summaryOf(before, ended, { news: this.#news });
    const save = async () => {
      if (this.#begun) await this.#folder.flush();
      // A run that was stopped before its first step is resumed with the options of now, not with those of
      // its earlier part.
      if (summary.stopped && this.#steps === 0) await this.#folder.writeConfig(storedConfig(this.#options));
      // A run without a step has nothing to sum up, and a summary would claim that the folder holds a result.
      if (written !== before && summary.steps > 0) await this.#folder.writeSummary(written);
    };
    await this.save(save, stop, summary);
    this.#terminal.record({ type: 'summary', out: path, ...written });
    const { graphs = 'graphs' } = device.info;
    if (graphs !== 'graphs') this.#terminal.note(`slower than it could be: ${graphs}`, 'yellow');
    const took = `${thousands(summary.steps)} steps, ${duration(summary.seconds)}`;
    if (context.interrupted !== undefined)
      this.#terminal.note(`${context.interrupted}; the model is saved`, 'yellow');
    if (summary.stopped) {
      const at =
        summary.steps === 0 ? 'stopped before the first step' : `stopped and saved at step ${summary.steps}`;
      this.#terminal.note(`${at}; continue with --resume --out ${path}`);
    } else if (complete) this.#terminal.note('nothing left to do: raise --epochs or --steps to train on');
    else this.#terminal.note(`done: ${took}, ${saved.join(' and ')}`, 'green');
  }

  /** Adds how many crops were cut from each image, because the images of a validation may be crops. */
  #withCrops<Validation extends object>(validation: Validation) {
    return { ...validation, crops: this.#options.crops ?? null };
  }

  /** `path` relative to the run's folder. */
  #within(path: string): string {
    return relative(this.#folder.path, path);
  }
}

/** Returns the options that config.json holds: all that decide the result of the run, in the form that --config reads. */
function storedConfig(options: ResolvedFlags): object {
  const { out: _out, resume: _resume, json: _json, quiet: _quiet, ...config } = options;
  return config;
}
