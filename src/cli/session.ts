// Where the events of a training run go: the run's folder, the terminal, stdout; and what is said of its troubles.
import { join, relative } from 'node:path';
import type { FullDiskError } from '../checkpoint/full-disk.js';
import type { Device } from '../device/device.js';
import { PixelCnnError } from '../errors.js';
import { bestFile } from '../train/checkpoint-folder.js';
import type { CheckpointEvent, TrainEvent, TrainSummary } from '../train/events.js';
import { packageVersion } from '../version.js';
import type { TrainFlags } from './commands/train.js';
import type { StepRange } from './metrics.js';
import { stderr, stdout } from './output-stream.js';
import { countedProgress, epochsOf, TrainingProgress } from './progress.js';
import { metricsFile, type RunFolder, readSummary } from './run-folder.js';
import type { StopRequest } from './stop-request.js';
import { summaryOf } from './summary.js';
import { duration, type Terminal, thousands } from './terminal.js';
import { Troubles } from './troubles.js';

/** What is told of apart from checkpoints: the run is saved without it. */
const secondFile = 'the second file of the best checkpoint';

/** Where the events of a run go. */
export class Session {
  readonly #options: TrainFlags;
  readonly #folder: RunFolder;
  readonly #terminal: Terminal;
  readonly #worded: (text: string) => string;
  readonly #progress: TrainingProgress;
  readonly #validating: ReturnType<typeof countedProgress>;
  readonly #sampling: ReturnType<typeof countedProgress>;
  readonly #troubles: Troubles;
  #begun = false;
  #steps = 0;
  /** Something was told that a summary holds. */
  #news = false;
  /** The last step, and the last that a checkpoint holds. */
  #step = 0;
  #saved = 0;
  #trained = false;
  #lossTold = false;
  /** Of the whole run; known from the first step on. */
  #epochs: number | undefined;

  /** `worded` turns names of options into those of the command. */
  constructor(options: TrainFlags, folder: RunFolder, terminal: Terminal, worded: (text: string) => string) {
    this.#worded = worded;
    this.#options = options;
    this.#folder = folder;
    this.#terminal = terminal;
    this.#progress = new TrainingProgress(terminal, options.batchSize);
    this.#validating = countedProgress(this.#progress.line, 'validating', 'images');
    this.#sampling = countedProgress(this.#progress.line, 'drawing samples', 'steps');
    this.#troubles = new Troubles(terminal);
  }

  async handle(event: TrainEvent): Promise<void> {
    // Only now is it certain that the run fits what it resumes.
    if (!this.#begun) {
      const gap = await this.#folder.begin(event.type === 'resume' ? event.step : 0);
      if (gap !== undefined) this.#terminal.note(this.#lackOf(gap), 'yellow');
    }
    this.#begun = true;
    if (['step', 'epoch', 'validation'].includes(event.type)) this.#news = true;
    // A resumed run that has nothing left to do keeps the config it had.
    if (event.type === 'step' && this.#steps === 0)
      await this.#folder.writeConfig(storedConfig(this.#options));
    const line = { ...(await this.#lineOf(event)), wallTime: Date.now() / 1000 };
    if (event.type !== 'validating' && event.type !== 'sampling') this.#folder.append(line);
    this.#terminal.record(line);
    this.#show(event);
    this.#tellLostOutput();
  }

  /** Says once that output does not arrive any more. Where it is stderr that fails, the exit code alone can tell. */
  #tellLostOutput(): void {
    const loss = stdout.loss ?? stderr.loss;
    if (loss === undefined || this.#lossTold) return;
    this.#lossTold = true;
    const { path, missingMetrics } = this.#folder;
    const file = join(path, metricsFile);
    const rest = missingMetrics === undefined ? `${file} has every line` : this.#lackOf(missingMetrics);
    this.#terminal.problem(`${loss.sentence}; training goes on, ${rest}`);
  }

  /** A last word on the metrics that are lost. */
  tellMissingMetrics(): void {
    const { missingMetrics } = this.#folder;
    if (missingMetrics !== undefined)
      this.#terminal.problem(`${this.#lackOf(missingMetrics)}: they could not be written`);
  }

  #lackOf({ first, last }: StepRange): string {
    const steps = first === last ? `step ${first}` : `steps ${first} to ${last}`;
    return `${join(this.#folder.path, metricsFile)} lacks lines of ${steps}`;
  }

  readonly stopWords = {
    stopping: (name: string) => {
      const doing = this.#trained ? 'writing the summary, then ending' : 'finishing the step and saving';
      this.#terminal.note(`${name}: ${doing}; again to exit now`);
    },
    givingUp: (name: string) =>
      this.#terminal.problem(`${name}: one last try, then no more waiting for space`),
    exiting: (name: string) => {
      const [first, last] = [this.#saved + 1, this.#step];
      const kept = last === 0 ? 'nothing was saved yet' : `step ${last} is saved`;
      const lost = first > last ? kept : `steps ${first} to ${last} are lost`;
      this.#terminal.problem(`${name} again: ended at once; ${lost}`);
      this.tellMissingMetrics();
    },
  };

  /** Saves a file of the run when it has ended. Waits for space on a full disk. */
  async save(
    save: () => Promise<void>,
    stop: StopRequest,
    { checkpoint, steps }: TrainSummary,
  ): Promise<void> {
    this.#trained = true;
    try {
      await stop.saveOrWait(save, (error) => this.#tellWaiting(error));
    } catch (cause) {
      if (!(cause instanceof PixelCnnError) || checkpoint === undefined) throw cause;
      const remedy = `the weights are safe: ${checkpoint} holds step ${steps}; when there is room, --resume --out ${this.#folder.path} writes its models and its summary`;
      throw new PixelCnnError(cause.code, cause.message, { remedy, cause });
    }
  }

  #tellWaiting({ message }: Pick<FullDiskError, 'message'>): void {
    this.#terminal.problem(`waiting for space, 10 minutes at most, Ctrl-C gives up: ${message}`);
  }

  /** Makes what was written so far durable. */
  async flush(): Promise<void> {
    await this.#attempt('metrics and curve', () => this.#folder.flush());
  }

  /** Saves something that a run can do without for a while: a full disk may be free again by the next time. */
  async #attempt<Result>(what: string, save: () => Promise<Result>): Promise<Result | undefined> {
    try {
      const result = await save();
      this.#saves(what);
      return result;
    } catch (error) {
      if (!(error instanceof PixelCnnError)) throw error;
      this.#cannotSave(what, error);
      return undefined;
    }
  }

  #cannotSave(what: string, { code, message }: { code: string; message: string }): void {
    this.#troubles.report(what, code, `${what} not saved, training goes on: ${message}`);
  }

  #saves(what: string): void {
    this.#troubles.solved(what, `${what} saved again`);
  }

  #tellRemoved({ removed }: CheckpointEvent): void {
    if (removed.length === 0) return;
    const names = removed.map((path) => this.#within(path)).join(' and ');
    const sentence = `the disk is full: ${names} had to make room for a new checkpoint, fewer are kept`;
    this.#troubles.report('fewer checkpoints', 'removed', sentence);
  }

  async #lineOf(event: TrainEvent) {
    switch (event.type) {
      case 'step': {
        const { stepsPerEpoch: _, totalSteps: __, ...rest } = event;
        return rest;
      }
      case 'sample': {
        const { type, step, epoch, images } = event;
        const path = await this.#attempt('samples', () =>
          this.#folder.writeSamples(epoch + 1, images, this.#options.levels),
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

  #show(event: TrainEvent): void {
    const terminal = this.#terminal;
    switch (event.type) {
      case 'step':
        this.#steps += 1;
        this.#step = event.step;
        this.#epochs = epochsOf(event);
        this.#progress.step(event);
        if (event.step % event.stepsPerEpoch === 0) terminal.live('validating and sampling');
        break;
      case 'epoch':
        terminal.note(`${this.#nameOf(event)}  training ${loss(event)}`);
        break;
      case 'validation': {
        const best = event.best ? ', best so far' : '';
        terminal.note(`${this.#nameOf(event)}  validation ${loss(event)}, ${event.weights} weights${best}`);
        break;
      }
      case 'resume':
        for (const { path, reason } of event.skipped)
          terminal.note(`skipped checkpoint ${path}: ${reason}`, 'yellow');
        this.#step = event.step;
        this.#saved = event.step;
        terminal.note(`resumed at step ${event.step} from ${event.path}`);
        break;
      case 'checkpointFailed':
        // The best checkpoint may hold this step already.
        this.#cannotSave(this.#saved === event.step ? secondFile : 'checkpoint', event);
        break;
      case 'checkpoint':
        this.#saved = event.step;
        this.#saves('checkpoint');
        if (!event.path.endsWith(bestFile)) this.#saves(secondFile);
        this.#tellRemoved(event);
        break;
      case 'waitingForDisk':
        this.#tellWaiting(event);
        break;
      case 'validating':
        this.#validating(event);
        break;
      case 'sampling':
        this.#sampling(event);
        break;
      case 'choosing':
        this.#progress.choosing(event);
        break;
      case 'warning':
        terminal.note(this.#worded(event.message), 'yellow');
        break;
      case 'sample':
        break;
    }
  }

  /** The images of a validation may be crops: so many of each image. */
  #withCrops<Validation extends object>(validation: Validation) {
    return { ...validation, crops: this.#options.crops ?? null };
  }

  #nameOf({ epoch }: { epoch: number }): string {
    return this.#epochs === undefined ? `epoch ${epoch + 1}` : `epoch ${epoch + 1}/${this.#epochs}`;
  }

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
    const { imagesPerSecond } = this.#progress;
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
      // A run that was stopped before its first step goes on as it was asked to, not as an earlier part was.
      if (summary.stopped && this.#steps === 0) await this.#folder.writeConfig(storedConfig(this.#options));
      // Of a run without a step there is nothing to sum up, and a summary would say that something is there.
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

  #within(path: string): string {
    return relative(this.#folder.path, path);
  }
}

/** What config.json holds: everything that makes the run what it is, in the form that --config reads. */
function storedConfig(options: TrainFlags): object {
  const { out: _out, resume: _resume, json: _json, quiet: _quiet, ...config } = options;
  return config;
}

function loss({ nats, bitsPerDim }: { nats: number; bitsPerDim: number }): string {
  return `${bitsPerDim.toFixed(4)} bits/dim (${nats.toFixed(2)} nats)`;
}
