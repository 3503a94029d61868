// Runs training steps on a device: it holds gradients and optimizer state, and compiles a program for each batch size.
import { type Binarisation, binarisationInputs, recordBinarisation } from '../models/binarisation.js';
import { conditionInput } from '../models/condition.js';
import type { Model } from '../models/model.js';
import { recordTrainingStep } from '../models/network.js';
import { type NamedArrays, ParameterSet } from '../models/parameters.js';
import { heldAfterTraining, type Weights, weightSets } from '../models/weights.js';
import type { Algorithm } from '../program/algorithm.js';
import { type Arena, ArenaLayout } from '../program/arena.js';
import { PackList } from '../program/pack-list.js';
import { type Choices, Program, type ProgramMemory } from '../program/program.js';
import { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';
import { type Numerics, numericsOf } from './numerics.js';

/** The hyperparameters of one step. */
export interface Hyper {
  readonly learningRate: number;
  readonly beta1: number;
  readonly beta2: number;
  readonly epsilon: number;
  readonly weightDecay: number;
  readonly maxGradientNorm: number;
  readonly emaDecay: number;
}

/** The images of one step. */
export interface Batch {
  /** (N, H, W, channels) */
  readonly bytes: Uint8Array;
  readonly count: number;
  /** Needed by a step that was created with `dynamic`. */
  readonly binarisation?: Binarisation | undefined;
  /** Needed by a model with a condition: class numbers (N) or values. */
  readonly condition?: Uint32Array | Float32Array | undefined;
}

export interface StepResult {
  /** (N) -log p of each image before the step. */
  readonly nats: Float64Array;
  readonly gradientNorm: number;
  /** Steps taken and steps skipped since the beginning of the run, also of its parts before a resume. */
  readonly taken: number;
  readonly skipped: number;
}

/** Everything that a run needs to continue with the same bits. */
export interface OptimizerSnapshot {
  readonly parameters: NamedArrays;
  /** The moving average, if the model holds one. Without it the average begins at the parameters. */
  readonly average: NamedArrays | undefined;
  readonly moment1: NamedArrays;
  readonly moment2: NamedArrays;
  readonly counters: readonly number[];
}

/** What the steps of a run have in common. */
export interface TrainingStepOptions {
  readonly height: number;
  readonly width: number;
  /** Whether images are binarised first, anew in every step. */
  readonly dynamic: boolean;
  readonly algorithm: Algorithm;
  /** Called right before each submission that changes the model's weights. */
  readonly onChange?: () => void;
}

/** The gradients, optimizer state and programs of a training run. */
export class TrainingStep {
  readonly #model: Model;
  readonly #arena: Arena;
  readonly #gradients: ParameterSet;
  readonly #moment1: ParameterSet;
  readonly #moment2: ParameterSet;
  readonly #state: Tensor;
  readonly #hyper: Tensor;
  readonly #programs = new Map<number, Promise<Program>>();
  /** The program of the latest step. */
  #program: Program | undefined;
  readonly #options: TrainingStepOptions;

  private constructor(
    model: Model,
    arena: Arena,
    sets: readonly [ParameterSet, ParameterSet, ParameterSet],
    scalars: { state: Tensor; hyper: Tensor },
    options: TrainingStepOptions,
  ) {
    this.#model = model;
    this.#arena = arena;
    [this.#gradients, this.#moment1, this.#moment2] = sets;
    this.#state = scalars.state;
    this.#hyper = scalars.hyper;
    this.#options = options;
  }

  /** Allocates gradients and optimizer state. */
  static async create(model: Model, options: TrainingStepOptions): Promise<TrainingStep> {
    const { parameters } = model.network;
    const layout = new ArenaLayout();
    const gradients = new ParameterSet(layout, parameters, 'gradient');
    const moment1 = new ParameterSet(layout, parameters, 'moment1');
    const moment2 = new ParameterSet(layout, parameters, 'moment2');
    const state = layout.add('optimizer state', [4], 'float64');
    const hyper = layout.add('hyperparameters', [8], 'float32');
    const arena = await layout.allocate(model.device);
    return new TrainingStep(model, arena, [gradients, moment1, moment2], { state, hyper }, options);
  }

  /**
   * Submits one step and resolves when it has run; at most two are in flight. Resolves with undefined, and submits
   * nothing, if `signal` is aborted while the step waits for calls that read the weights.
   */
  async run(batch: Batch, hyper: Hyper, signal?: AbortSignal): Promise<StepResult | undefined> {
    const program = await this.#programFor(batch.count);
    this.#program = program;
    const inputs = this.#inputs(batch, hyper);
    const outputs = await this.#model.lock.change(signal, () => {
      this.#weightsChange(heldAfterTraining(hyper.emaDecay));
      return this.#model.device.submit([program.step(inputs)]);
    });
    if (outputs === undefined) return undefined;
    const [nats, state] = outputs;
    const [gradientNorm, taken, skipped] = new Float64Array(state!) as unknown as [number, number, number];
    return { nats: new Float64Array(nats!), gradientNorm, taken, skipped };
  }

  /** The device's progress in choosing the convolution algorithms of the latest step. */
  get choices(): Choices | undefined {
    return this.#program?.choices;
  }

  /** What decides the bits of these steps. */
  get numerics(): Numerics {
    return numericsOf(this.#model.device, this.#options.algorithm);
  }

  /**
   * The memory of training in bytes: `state` for gradients and the optimizer's moments, beside the model's own arena; the
   * others for the program of the latest step.
   */
  get memory(): (ProgramMemory & { readonly state: number }) | undefined {
    return this.#program && { state: this.#arena.bytes, ...this.#program.memory };
  }

  /** Runs one step op by op, which counts as a step, and resolves with time, shape and non-finite values of each op. */
  async trace(batch: Batch, hyper: Hyper) {
    const program = await this.#programFor(batch.count);
    const inputs = this.#inputs(batch, hyper);
    return this.#model.lock.change(undefined, () => {
      this.#weightsChange(heldAfterTraining(hyper.emaDecay));
      return program.trace(inputs);
    });
  }

  /** Reads the optimizer's state and the weights, all of them after the same step. */
  async snapshot(): Promise<OptimizerSnapshot> {
    const { raw, ema, arena, holds } = this.#model;
    // The reads are submitted together, so that no step comes between them.
    const [parameters, average, moment1, moment2, counters] = await Promise.all([
      raw.read(arena),
      holds.includes('ema') ? ema.read(arena) : undefined,
      this.#moment1.read(this.#arena),
      this.#moment2.read(this.#arena),
      this.#arena.read(this.#state),
    ]);
    return { parameters, average, moment1, moment2, counters: [...new Float64Array(counters)] };
  }

  /** Reads the gradients of the latest step, before clipping. */
  gradients(): Promise<NamedArrays> {
    return this.#gradients.read(this.#arena);
  }

  /** Writes the optimizer's state and the weights. */
  async restore(snapshot: OptimizerSnapshot): Promise<void> {
    const { raw, ema, arena } = this.#model;
    const { parameters, average } = snapshot;
    await this.#model.lock.change(undefined, () => {
      this.#weightsChange(average === undefined ? ['raw'] : weightSets);
      return Promise.all([
        raw.write(arena, parameters),
        ema.write(arena, average ?? parameters),
        this.#moment1.write(this.#arena, snapshot.moment1),
        this.#moment2.write(this.#arena, snapshot.moment2),
        this.#arena.write(this.#state, Float64Array.from(snapshot.counters)),
      ]);
    });
  }

  /** Called right before each submission that changes the weights. */
  #weightsChange(holds: readonly Weights[]): void {
    this.#options.onChange?.();
    this.#model.weightsChange(holds);
  }

  dispose(): void {
    const end = (program: Program) => program.dispose();
    for (const program of this.#programs.values()) program.then(end, () => undefined);
    this.#programs.clear();
    this.#arena.release();
  }

  /** Returns the program for batches of `count` images. Steps that need it at the same time share one. */
  #programFor(count: number): Promise<Program> {
    const known = this.#programs.get(count);
    if (known !== undefined) return known;
    const program = this.#compile(count);
    this.#programs.set(count, program);
    program.catch(() => this.#programs.delete(count));
    return program;
  }

  /** Returns the inputs of a run in the order in which #compile records them. */
  #inputs({ bytes, binarisation, condition }: Batch, hyper: Hyper): ArrayBufferView[] {
    return [
      bytes,
      hyperArray(hyper),
      ...(this.#options.dynamic ? binarisationInputs(binarisation!) : []),
      ...(condition === undefined ? [] : [condition]),
    ];
  }

  async #compile(count: number): Promise<Program> {
    const { raw, ema, config, device } = this.#model;
    const { height, width, dynamic, algorithm } = this.#options;
    const r = new Recorder(device, {
      algorithm,
      parameters: raw.byName,
      gradients: this.#gradients.byName,
      ...(device.packsOnce && { packs: new PackList() }),
    });
    const given = r.input('bytes', [count, height, width, config.channels], 'uint8');
    r.fill(this.#hyper);
    const bytes = dynamic ? recordBinarisation(r, given) : given;
    const condition = conditionInput(r, config, { n: count, h: height, w: width });
    const optimizer = {
      gradients: this.#gradients.flat,
      hyper: this.#hyper,
      state: this.#state,
      parameters: raw.flat,
      moment1: this.#moment1.flat,
      moment2: this.#moment2.flat,
      average: ema.flat,
    };
    r.output(recordTrainingStep(r, this.#model, { bytes, condition }, optimizer));
    r.output(this.#state);
    return Program.compile(r);
  }
}

function hyperArray(h: Hyper): Float32Array {
  const { learningRate, beta1, beta2, epsilon, weightDecay, maxGradientNorm, emaDecay } = h;
  return Float32Array.of(learningRate, beta1, beta2, epsilon, weightDecay, maxGradientNorm, emaDecay, 0);
}
