// One training run from the command line: events to the run's folder and the terminal, signals to the run.
import { constants } from 'node:os';
import { join, relative } from 'node:path';
import type { Device } from '../device.js';
import { PixelCnnError } from '../errors.js';
import { layersOf } from '../models/config.js';
import { PixelCNN } from '../models/pixelcnn.js';
import { evaluate } from '../train/evaluate.js';
import type { TrainEvent, TrainingRun, TrainSummary } from '../train/events.js';
import { hyperparameters } from '../train/options.js';
import { train } from '../train/trainer.js';
import { packageVersion } from '../version.js';
import type { TrainFlags } from './commands/train.js';
import { Interrupted, openNamedDevice, readImages } from './common.js';
import { UsageError } from './failure.js';
import { countParameters } from './parameter-count.js';
import { epochsOf, TrainingProgress } from './progress.js';
import { hasMetrics, modelFiles, newRunPath, RunFolder, stemOf } from './run-folder.js';
import { duration, Terminal, thousands } from './terminal.js';

/** Trains as the options say. Returns the exit code. */
export async function runTraining(options: TrainFlags): Promise<number> {
  const path = options.out ?? newRunPath(options.preset ?? stemOf(options.data));
  if (!options.resume && (await hasMetrics(path))) {
    throw new UsageError(`train: ${path} already holds a run`, 'train', {
      remedy: `continue it with --resume --out ${path}, or choose another --out`,
    });
  }
  const terminal = new Terminal(options);
  const images = await readImages(options.data, options);
  const { validation, test, channels } = options;
  const held = typeof validation === 'string' ? await readImages(validation, { channels }) : validation;
  const testImages = test === undefined ? undefined : await readImages(test, { channels });
  const device = await openNamedDevice(options, terminal);
  try {
    const { hiddenChannels, layers, levels, kernelSize, seed } = options;
    const model = await PixelCNN.create(device, {
      channels: images.channels,
      hiddenChannels,
      layers,
      levels,
      kernelSize,
      seed,
    });
    const { total } = countParameters(layersOf(model.config));
    const size = `${images.height}x${images.width}x${images.channels}`;
    terminal.note(`${options.data}: ${thousands(images.count)} images of ${size}`, 'dim');
    terminal.note(`model: ${layers} layers, ${thousands(total)} parameters, ${levels} levels`, 'dim');
    const { batchSize, learningRate, schedule, protocol } = options;
    const rate = `learning rate ${learningRate} ${schedule}`;
    terminal.note(
      `training: ${lengthOf(options)}, batches of ${batchSize}, ${rate}, protocol ${protocol}, seed ${seed}`,
      'dim',
    );
    terminal.note(`run: ${path}`);
    terminal.record({ type: 'start', out: path, model: model.config, device: device.info });

    const folder = await RunFolder.create(path);
    const session = new Session(options, folder, terminal);
    const stop = new StopRequest();
    try {
      const settings = Object.keys(hyperparameters).map((key) => [key, options[key as keyof TrainFlags]]);
      const run = train(model, images, {
        ...Object.fromEntries(settings),
        validation: held,
        samples: options.samples,
        checkpointFolder: folder.checkpoints,
        resume: options.resume,
      });
      run.beforeCheckpoint(() => session.flush());
      stop.attach(run, (name) => terminal.note(`${name}: finishing the step and saving; again to exit now`));
      for await (const event of run) await session.handle(event);
      const summary = await run;
      let tested: object | undefined;
      let saved: readonly string[] = [];
      if (!summary.stopped) {
        saved = await saveModel(model, folder.path);
        if (testImages !== undefined) {
          terminal.live(`evaluating ${test}`);
          const result = await evaluate(model, testImages, { protocol, seed, signal: stop.signal });
          terminal.note(
            `test ${loss(result)}, ${thousands(result.images)} images, ${result.weights} weights`,
          );
          tested = { data: test, ...result };
        }
      }
      await session.finish(summary, {
        device,
        saved,
        parameters: total,
        model: model.config,
        test: tested,
      });
      return stop.exitCode;
    } finally {
      stop.detach();
      terminal.clear();
      await folder.close();
    }
  } finally {
    await device.dispose();
  }
}

/** What config.json holds: everything that makes the run what it is, in the form that --config reads. */
function storedConfig(options: TrainFlags): object {
  const { out: _out, resume: _resume, json: _json, quiet: _quiet, ...config } = options;
  return config;
}

/** Saves a file for each set of weights that the model holds. */
async function saveModel(model: PixelCNN, folder: string): Promise<string[]> {
  const saved: string[] = [];
  for (const weights of model.weights) {
    const path = join(folder, modelFiles[weights]);
    await model.save(path, { weights });
    saved.push(path);
  }
  return saved;
}

function lengthOf({ epochs, steps }: TrainFlags): string {
  if (steps === undefined) return `${epochs ?? 1} epochs`;
  return epochs === undefined ? `${steps} steps` : `${epochs} epochs or ${steps} steps`;
}

function loss({ nats, bitsPerDim }: { nats: number; bitsPerDim: number }): string {
  return `${bitsPerDim.toFixed(4)} bits/dim (${nats.toFixed(2)} nats)`;
}

/** Milliseconds in which a second signal counts as the first. */
const repeatInterval = 500;

/** The first signal ends the run after its step, with a checkpoint; the second ends the process. */
class StopRequest {
  readonly #controller = new AbortController();
  // SIGUSR1 or SIGUSR2 is what batch systems are told to send before they end a job; Windows knows neither.
  readonly #names = [
    'SIGINT',
    'SIGTERM',
    ...(process.platform === 'win32' ? [] : (['SIGUSR1', 'SIGUSR2'] as const)),
  ] as const;
  #handler: ((name: NodeJS.Signals) => void) | undefined;
  #received: NodeJS.Signals | undefined;
  #receivedAt = 0;

  attach(run: TrainingRun, tell: (name: string) => void): void {
    this.#handler = (name) => {
      const now = performance.now();
      // Under npx one Ctrl-C comes twice: from the terminal and from npm.
      if (this.#received !== undefined && now - this.#receivedAt < repeatInterval) return;
      if (this.#received !== undefined) process.exit(128 + constants.signals[name]);
      this.#received = name;
      this.#receivedAt = now;
      tell(name);
      run.stop();
      this.#controller.abort(new Interrupted(name));
    };
    for (const name of this.#names) process.on(name, this.#handler);
  }

  detach(): void {
    if (this.#handler === undefined) return;
    for (const name of this.#names) process.off(name, this.#handler);
  }

  /** Aborts what comes after training. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get exitCode(): number {
    return this.#received === undefined ? 0 : 128 + constants.signals[this.#received];
  }
}

/** Where the events of a run go. */
class Session {
  readonly #options: TrainFlags;
  readonly #folder: RunFolder;
  readonly #terminal: Terminal;
  readonly #progress: TrainingProgress;
  #begun = false;
  #steps = 0;
  /** Of the whole run; known from the first step on. */
  #epochs: number | undefined;

  constructor(options: TrainFlags, folder: RunFolder, terminal: Terminal) {
    this.#options = options;
    this.#folder = folder;
    this.#terminal = terminal;
    this.#progress = new TrainingProgress(terminal, options.batchSize);
  }

  async handle(event: TrainEvent): Promise<void> {
    // Only now is it certain that the run fits what it resumes.
    if (!this.#begun)
      await this.#folder.begin(storedConfig(this.#options), event.type === 'resume' ? event.step : 0);
    this.#begun = true;
    const line = { ...(await this.#lineOf(event)), wallTime: Date.now() / 1000 };
    this.#folder.append(line);
    this.#terminal.record(line);
    this.#show(event);
  }

  /** Makes what was written so far durable. */
  async flush(): Promise<void> {
    await this.#attempt('metrics', () => this.#folder.flush());
  }

  /** Saves something that a run can do without for a while: a full disk may be free again by the next time. */
  async #attempt<Result>(what: string, save: () => Promise<Result>): Promise<Result | undefined> {
    try {
      return await save();
    } catch (error) {
      if (!(error instanceof PixelCnnError)) throw error;
      this.#terminal.note(`${what} not saved, training goes on: ${error.message}`, 'yellow');
      return undefined;
    }
  }

  async #lineOf(event: TrainEvent) {
    switch (event.type) {
      case 'step': {
        const { stepsPerEpoch: _, totalSteps: __, ...rest } = event;
        return rest;
      }
      case 'epoch':
      case 'validation':
        return event;
      case 'sample': {
        const { type, step, epoch, images } = event;
        const path = await this.#attempt('samples', () =>
          this.#folder.writeSamples(epoch + 1, images, this.#options.levels),
        );
        const { weights, seed } = images;
        return { type, step, epoch, path: path === undefined ? null : this.#within(path), weights, seed };
      }
      case 'checkpointFailed':
      case 'choosing':
      case 'warning':
        return event;
      default:
        return { ...event, path: this.#within(event.path) };
    }
  }

  #show(event: TrainEvent): void {
    const terminal = this.#terminal;
    switch (event.type) {
      case 'step':
        this.#steps += 1;
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
        terminal.note(`resumed at step ${event.step} from ${event.path}`);
        break;
      case 'checkpointFailed':
        terminal.note(
          `step ${event.step}: checkpoint not saved, training goes on: ${event.message}`,
          'yellow',
        );
        break;
      case 'choosing':
        this.#progress.choosing(event);
        break;
      case 'warning':
        terminal.note(event.message, 'yellow');
        break;
      case 'sample':
      case 'checkpoint':
        break;
    }
  }

  #nameOf({ epoch }: { epoch: number }): string {
    return this.#epochs === undefined ? `epoch ${epoch + 1}` : `epoch ${epoch + 1}/${this.#epochs}`;
  }

  async finish(
    summary: TrainSummary,
    context: {
      device: Device;
      saved: readonly string[];
      parameters: number;
      model: object;
      test: object | undefined;
    },
  ): Promise<void> {
    if (this.#begun) await this.#folder.flush();
    const { imagesPerSecond } = this.#progress;
    const { device, saved, ...about } = context;
    const { checkpoint } = summary;
    const written = {
      ...summary,
      ...(checkpoint !== undefined && { checkpoint: this.#within(checkpoint) }),
      ...about,
      imagesPerSecond: Number.isFinite(imagesPerSecond) ? imagesPerSecond : null,
      device: device.info,
      versions: { pixelcnn: packageVersion(), node: process.versions.node },
      finishedAt: new Date().toISOString(),
    };
    const { path } = this.#folder;
    // A run that was resumed after its end has nothing new to say.
    const complete = this.#steps === 0 && !summary.stopped && (await this.#folder.hasSummary());
    if (!complete) await this.#folder.writeSummary(written);
    this.#terminal.record({ type: 'summary', out: path, ...written });
    const { graphs = 'graphs' } = device.info;
    if (graphs !== 'graphs') this.#terminal.note(`slower than it could be: ${graphs}`, 'yellow');
    const took = `${thousands(summary.steps)} steps, ${duration(summary.seconds)}`;
    if (summary.stopped)
      this.#terminal.note(`stopped and saved at step ${summary.steps}; continue with --resume --out ${path}`);
    else if (complete) this.#terminal.note('nothing left to do: raise --epochs or --steps to train on');
    else this.#terminal.note(`done: ${took}, ${saved.join(' and ')}`, 'green');
  }

  #within(path: string): string {
    return relative(this.#folder.path, path);
  }
}
