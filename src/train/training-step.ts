// The training step on a device: gradients and optimizer state in an arena, one program per batch size.
import { type Arena, ArenaLayout } from '../device/device.js';
import { layerConfigs } from '../models/config.js';
import { recordTrainingStep } from '../models/network.js';
import { type NamedArrays, ParameterSet } from '../models/parameters.js';
import { heldAfterTraining, type Weights, weightSets } from '../models/weights.js';
import type { Algorithm } from '../ops/masked-conv2d.js';
import { binarise } from '../ops/random.js';
import type { ModelInternals } from '../pixelcnn.js';
import { type Choices, Program } from '../program/program.js';
import { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** What Adam reads every step. */
export interface Hyper {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly maxGradientNorm: number;
  readonly emaDecay: number;
}

/** One batch: bytes (N, H, W, channels), the images' indices in the dataset, and what dynamic binarisation draws from. */
export interface Batch {
  readonly bytes: Uint8Array;
  readonly count: number;
  readonly index: Uint32Array;
  /** Philox key words and the epoch. */
  readonly random: readonly [number, number, number];
}

export interface StepResult {
  /** (N) before the step. */
  readonly nats: Float64Array;
  readonly gradientNorm: number;
  /** Steps taken and steps skipped since the optimizer's state was new. */
  readonly taken: number;
  readonly skipped: number;
}

/** Everything beside the weights that a run needs to continue bit for bit. */
export interface OptimizerSnapshot {
  readonly parameters: NamedArrays;
  /** Where the model holds one. Without it the average begins at the parameters. */
  readonly average: NamedArrays | undefined;
  readonly moment1: NamedArrays;
  readonly moment2: NamedArrays;
  readonly counters: readonly number[];
}

export class TrainingStep {
  readonly #model: ModelInternals;
  readonly #arena: Arena;
  readonly #gradients: ParameterSet;
  readonly #moment1: ParameterSet;
  readonly #moment2: ParameterSet;
  readonly #state: Tensor;
  readonly #hyper: Tensor;
  readonly #programs = new Map<number, Promise<Program>>();
  /** Of the latest step. */
  #program: Program | undefined;
  readonly #size: { height: number; width: number };
  readonly #dynamic: boolean;
  readonly #algorithm: Algorithm;

  private constructor(
    model: ModelInternals,
    arena: Arena,
    sets: readonly [ParameterSet, ParameterSet, ParameterSet],
    scalars: { state: Tensor; hyper: Tensor },
    options: { height: number; width: number; dynamic: boolean; algorithm: Algorithm },
  ) {
    this.#model = model;
    this.#arena = arena;
    [this.#gradients, this.#moment1, this.#moment2] = sets;
    this.#state = scalars.state;
    this.#hyper = scalars.hyper;
    this.#size = options;
    this.#dynamic = options.dynamic;
    this.#algorithm = options.algorithm;
  }

  static async create(
    model: ModelInternals,
    options: { height: number; width: number; dynamic: boolean; algorithm: Algorithm },
  ): Promise<TrainingStep> {
    const configs = layerConfigs(model.config);
    const layout = new ArenaLayout();
    const gradients = new ParameterSet(layout, configs, 'gradient');
    const moment1 = new ParameterSet(layout, configs, 'moment1');
    const moment2 = new ParameterSet(layout, configs, 'moment2');
    const state = layout.add('optimizer state', [4], 'float64');
    const hyper = layout.add('hyperparameters', [8], 'float32');
    const arena = await layout.allocate(model.device);
    return new TrainingStep(model, arena, [gradients, moment1, moment2], { state, hyper }, options);
  }

  /**
   * Submits one step. At most two are in flight; the Promise resolves when this one has run. Undefined, and not
   * submitted, where `signal` is aborted while the step waits for calls that read the weights.
   */
  async run(batch: Batch, hyper: Hyper, signal?: AbortSignal): Promise<StepResult | undefined> {
    const program = await this.#programFor(batch.count);
    this.#program = program;
    const inputs = this.#inputs(batch, hyper);
    const outputs = await this.#model.lock.change(signal, () => {
      this.#changeModel(heldAfterTraining(hyper.emaDecay));
      return this.#model.device.submit([program.step(inputs)]);
    });
    if (outputs === undefined) return undefined;
    const [nats, state] = outputs;
    const [gradientNorm, taken, skipped] = new Float64Array(state!) as unknown as [number, number, number];
    return { nats: new Float64Array(nats!), gradientNorm, taken, skipped };
  }

  /** How far the device is with choosing convolutions for the latest step. */
  get choices(): Choices | undefined {
    return this.#program?.choices;
  }

  /** Time, shape and non-finite values of every op of one step, which counts as a step. */
  async trace(batch: Batch, hyper: Hyper) {
    const program = await this.#programFor(batch.count);
    const inputs = this.#inputs(batch, hyper);
    return this.#model.lock.change(undefined, () => {
      this.#changeModel(heldAfterTraining(hyper.emaDecay));
      return program.trace(inputs);
    });
  }

  /** Reads the optimizer's state and the weights, all as of the same step. */
  async snapshot(): Promise<OptimizerSnapshot> {
    const { raw, ema, arena, holds } = this.#model;
    // Submitted together, so no step comes between the reads.
    const [parameters, average, moment1, moment2, counters] = await Promise.all([
      raw.read(arena),
      holds.includes('ema') ? ema.read(arena) : undefined,
      this.#moment1.read(this.#arena),
      this.#moment2.read(this.#arena),
      this.#arena.read(this.#state),
    ]);
    return { parameters, average, moment1, moment2, counters: [...new Float64Array(counters)] };
  }

  /** The gradients of the latest step, before clipping. */
  gradients(): Promise<NamedArrays> {
    return this.#gradients.read(this.#arena);
  }

  async restore(snapshot: OptimizerSnapshot): Promise<void> {
    const { raw, ema, arena } = this.#model;
    const { parameters, average } = snapshot;
    await this.#model.lock.change(undefined, () => {
      this.#changeModel(average === undefined ? ['raw'] : weightSets);
      return Promise.all([
        raw.write(arena, parameters),
        ema.write(arena, average ?? parameters),
        this.#moment1.write(this.#arena, snapshot.moment1),
        this.#moment2.write(this.#arena, snapshot.moment2),
        this.#arena.write(this.#state, Float64Array.from(snapshot.counters)),
      ]);
    });
  }

  dispose(): void {
    const end = (program: Program) => program.dispose();
    for (const program of this.#programs.values()) program.then(end, () => undefined);
    this.#programs.clear();
    this.#arena.release();
  }

  /** To be called right before what changes the weights is submitted: what others submit later comes after it. */
  #changeModel(holds: readonly Weights[]): void {
    this.#model.holds = holds;
    this.#model.version += 1;
  }

  /** The program for batches of `count` images. Two steps that need it at once share the first one's. */
  #programFor(count: number): Promise<Program> {
    const known = this.#programs.get(count);
    if (known !== undefined) return known;
    const program = this.#compile(count);
    this.#programs.set(count, program);
    program.catch(() => this.#programs.delete(count));
    return program;
  }

  /** In the order in which #compile records them. */
  #inputs(batch: Batch, hyper: Hyper): ArrayBufferView[] {
    const random = this.#dynamic ? [batch.index, Uint32Array.of(...batch.random, 0)] : [];
    return [batch.bytes, hyperArray(hyper), ...random];
  }

  async #compile(count: number): Promise<Program> {
    const { networks, raw, ema, config, device } = this.#model;
    const r = new Recorder(device);
    let bytes = r.input('bytes', [count, this.#size.height, this.#size.width, config.channels], 'uint8');
    r.feed(this.#hyper);
    if (this.#dynamic) {
      const index = r.input('index', [count], 'uint32');
      const random = r.input('random', [4], 'uint32');
      bytes = binarise(r, 'binarise', { bytes, index, random });
    }
    const optimizer = {
      gradients: this.#gradients.flat,
      hyper: this.#hyper,
      state: this.#state,
      parameters: raw.flat,
      moment1: this.#moment1.flat,
      moment2: this.#moment2.flat,
      average: ema.flat,
    };
    r.output(recordTrainingStep(r, networks.raw, bytes, this.#gradients.layers, optimizer, this.#algorithm));
    r.output(this.#state);
    return Program.compile(r);
  }
}

function hyperArray(h: Hyper): Float32Array {
  const { learningRate, beta1, beta2, epsilon, weightDecay, maxGradientNorm, emaDecay } = h;
  return Float32Array.of(learningRate, beta1, beta2, epsilon, weightDecay, maxGradientNorm, emaDecay, 0);
}
