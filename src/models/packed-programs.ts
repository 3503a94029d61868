// Compiles programs that read packed weights, and packs the weights again before a run if they have changed.
import type { ProgramRun } from '../device/device.js';
import { recordPacking } from '../ops/masked-conv2d.js';
import type { Algorithm } from '../program/algorithm.js';
import { PackList } from '../program/pack-list.js';
import { type OpTrace, Program } from '../program/program.js';
import { Recorder, type RecorderOptions } from '../program/recorder.js';
import type { Model } from './model.js';
import type { Weights } from './weights.js';

/** Programs that share memory and the packed weights of a model. */
export class PackedPrograms<P extends readonly Program[]> {
  readonly programs: P;
  readonly #model: Model;
  readonly #pack: Program;
  /** The version of the model's weights that are packed. */
  #packedVersion = -1;

  private constructor(model: Model, pack: Program, programs: P) {
    this.#model = model;
    this.#pack = pack;
    this.programs = programs;
  }

  /** Compiles one program for each recorder that `record` makes with the given options, in the same order. */
  static async compile<R extends readonly Recorder[]>(
    model: Model,
    weights: Weights,
    algorithm: Algorithm,
    record: (options: RecorderOptions) => R,
  ): Promise<PackedPrograms<{ [K in keyof R]: Program }>> {
    const pack = new Recorder(model.device);
    const packs = new PackList();
    const recorders = record({ parameters: model[weights].byName, algorithm, packs });
    recordPacking(pack, packs, 0);
    const [packProgram, ...programs] = await Program.compileShared([pack, ...recorders]);
    return new PackedPrograms(model, packProgram!, programs as { [K in keyof R]: Program });
  }

  /** Packs the weights if they have changed, submits runs of these programs, and resolves with the last one's outputs. */
  submit(runs: readonly ProgramRun[], signal?: AbortSignal): Promise<ArrayBuffer[]> {
    const { version, device } = this.#model;
    const pack = this.#packedVersion === version ? [] : [this.#pack.step([])];
    this.#packedVersion = version;
    return device.submit([...pack, ...runs], signal);
  }

  /** Packs the weights, then runs one of these programs once, and traces both op by op. */
  async trace(program: Program, inputs: ArrayBufferView[], signal?: AbortSignal): Promise<OpTrace[]> {
    return [...(await this.#pack.trace([], signal)), ...(await program.trace(inputs, signal))];
  }

  dispose(): void {
    for (const program of [this.#pack, ...this.programs]) program.dispose();
  }
}
