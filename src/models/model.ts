// Holds the parts of a model on a device: its parameters, its network, and the programs that are compiled for it.
import type { ImageValues } from '../data/image-batch.js';
import type { Protocol } from '../data/protocol.js';
import type { Device } from '../device/device.js';
import { type Arena, ArenaLayout } from '../program/arena.js';
import { networkOf } from './architectures.js';
import type { PixelCnnConfig } from './config.js';
import type { Network } from './network.js';
import { type NamedArrays, ParameterSet } from './parameters.js';
import { ProgramCache } from './program-cache.js';
import type { Weights } from './weights.js';
import { WeightsLock } from './weights-lock.js';

/** How many compiled programs a model keeps for later calls. */
const mostIdlePrograms = 6;

/** The weights that a new model begins with. */
export interface InitialWeights {
  readonly parameters: NamedArrays;
  /** The moving average of the weights, for a model that has one. */
  readonly average?: NamedArrays | undefined;
  /** Which of the two the model holds. */
  readonly holds: readonly Weights[];
}

/** @internal The model behind a {@link PixelCNN}, as the modules that record programs see it. */
export class Model {
  readonly device: Device;
  readonly config: PixelCnnConfig;
  readonly network: Network;
  readonly arena: Arena;
  /** The parameters as they are trained, and their moving average. */
  readonly raw: ParameterSet;
  readonly ema: ParameterSet;
  readonly programs: ProgramCache<Model>;
  readonly lock = new WeightsLock();
  /** The height and width of the images that it was trained on, the default size of samples. */
  imageSize: { height: number; width: number } | undefined;
  /** Whether the images that it was trained on hold bytes or levels; undefined until it is trained. */
  values: ImageValues | undefined;
  /** The names of the classes that it is given, if they are known. */
  classNames: readonly string[] | undefined;
  /** How the images that it was trained on became levels; undefined until it is trained. */
  protocol: Protocol | undefined;
  /** The steps of the run that trained it; undefined if unknown, and while a run trains it. */
  step: number | undefined;
  /** Whether a run is training it. */
  inTraining = false;
  #holds: readonly Weights[];
  #version = 0;

  private constructor(
    device: Device,
    config: PixelCnnConfig,
    network: Network,
    arena: Arena,
    sets: Record<Weights, ParameterSet>,
    holds: readonly Weights[],
  ) {
    this.device = device;
    this.config = config;
    this.network = network;
    this.arena = arena;
    this.raw = sets.raw;
    this.ema = sets.ema;
    this.programs = new ProgramCache(this, mostIdlePrograms);
    this.#holds = holds;
  }

  /**
   * Allocates the memory of a model and writes its weights. Default network: that of the configuration.
   * @throws PixelCnnError ERR_OUT_OF_MEMORY.
   */
  static async create(
    device: Device,
    config: PixelCnnConfig,
    weights: InitialWeights,
    network: Network = networkOf(config),
  ): Promise<Model> {
    const { parameters, average, holds } = weights;
    const layout = new ArenaLayout();
    const raw = new ParameterSet(layout, network.parameters, 'raw');
    const ema = new ParameterSet(layout, network.parameters, 'ema');
    const arena = await layout.allocate(device);
    try {
      const values = raw.encode(parameters);
      const averages = average === undefined ? values : ema.encode(average);
      await Promise.all([arena.write(raw.flat, values), arena.write(ema.flat, averages)]);
    } catch (error) {
      arena.release();
      throw error;
    }
    return new Model(device, config, network, arena, { raw, ema }, holds);
  }

  /** The sets of weights that the model holds. The memory of the other set has no meaning. */
  get holds(): readonly Weights[] {
    return this.#holds;
  }

  /** Counts the changes of the weights, so that packed weights of an older version are packed again. */
  get version(): number {
    return this.#version;
  }

  /**
   * Notes that the weights change. It is called right before the change is submitted, so that a call which sees the new
   * version submits its work after the change.
   */
  weightsChange(holds: readonly Weights[]): void {
    this.#holds = holds;
    this.#version += 1;
  }

  /** Frees the model's memory. Calls that still use it fail. */
  dispose(): void {
    this.programs.close();
    this.arena.release();
  }
}
