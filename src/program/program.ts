// A recorded program made runnable: memory planned, validated natively, then one call and one Promise per run.
import type { Arena, Device, ProgramRun } from '../device/device.js';
import { callNative, type NativeProgram, native } from '../device/native.js';
import { check, PixelCnnError } from '../errors.js';
import { planMemory } from './memory-plan.js';
import { arenasOf, encodeOps, type RecordedOp, type Recorder } from './recorder.js';
import { blockBytes, blocksOf, type Tensor } from './tensor.js';

/** One op of a traced run. */
export interface OpTrace {
  readonly label: string;
  readonly op: string;
  /** Shape of the op's main result. */
  readonly shape: readonly number[];
  readonly milliseconds: number;
  /** NaN and infinite values in what the op wrote. */
  readonly nonFinite: number;
  /** On a GPU why the op's program cannot be captured into a graph; graphs that are off are told by `device.info`. */
  readonly opByOp?: string;
}

/**
 * While a program is prepared for its first run: convolutions that the device has chosen a way to compute for, of how
 * many. At other times 0 of 0.
 */
export interface Choices {
  readonly made: number;
  readonly of: number;
}

export class Program {
  readonly device: Device;
  readonly #program: NativeProgram;
  readonly #arena: Arena;
  readonly #ops: readonly RecordedOp[];
  readonly #labels: readonly string[];
  readonly #repeatable: boolean;
  #released = false;

  private constructor(device: Device, program: NativeProgram, arena: Arena, recorder: Recorder) {
    this.device = device;
    this.#program = program;
    this.#arena = arena;
    this.#ops = recorder.ops;
    this.#labels = recorder.ops.map(({ label }) => label);
    // The memory of other inputs may hold something else by the end of the first repeat.
    this.#repeatable = recorder.inputs.every((tensor) => tensor.placed || recorder.states.has(tensor));
  }

  /**
   * Plans memory, allocates the program's own arena and has the native side check every op.
   * @throws PixelCnnError ERR_PROGRAM with the op and the field; ERR_LIMIT; ERR_OUT_OF_MEMORY.
   */
  static async compile(recorder: Recorder): Promise<Program> {
    const [program] = await Program.compileShared([recorder]);
    return program!;
  }

  /** Compiles programs that share state tensors: they get one arena, in which states keep their place. */
  static async compileShared(recorders: readonly Recorder[]): Promise<Program[]> {
    const device = recorders[0]!.device;
    const { offsets, blocks } = plan(recorders);
    for (const { inputs, outputs } of recorders) [...inputs, ...outputs].forEach(checkTransferable);
    const arena = await device.allocate(Math.max(blocks, 1) * blockBytes);
    const programs: Program[] = [];
    try {
      for (const recorder of recorders) {
        const arenas = [arena, ...arenasOf(recorder)];
        const place = (tensor: Tensor) => {
          if (tensor.placed)
            return { arena: arenas.indexOf(tensor.placed.arena), block: tensor.placed.block };
          return { arena: 0, block: offsets.get(tensor)! };
        };
        const regions = (tensors: readonly Tensor[]) =>
          Int32Array.from(
            tensors.flatMap((tensor) => [place(tensor).arena, place(tensor).block, tensor.bytes]),
          );
        const program = callNative(() =>
          native().createProgram(
            encodeOps(recorder.ops, place),
            arenas.map(({ handle }) => handle),
            regions(recorder.inputs),
            regions(recorder.outputs),
          ),
        );
        programs.push(new Program(device, program, arena, recorder));
      }
    } catch (error) {
      for (const program of programs) program.dispose();
      arena.release();
      throw error;
    }
    return programs;
  }

  /** What {@link Device.submit} takes. Inputs in the order they were recorded; they are copied on submission. */
  step(inputs: ArrayBufferView[], repeat = 1): ProgramRun {
    if (this.#released) throw new PixelCnnError('ERR_DISPOSED', 'the program has been disposed');
    check(!(repeat > 1) || this.#repeatable, 'ERR_OUT_OF_RANGE', () => {
      return `repeat must be 1 for a program whose inputs are not states, got ${repeat}`;
    });
    return { program: this.#program, inputs, repeat, labels: this.#labels };
  }

  /** Runs the ops `repeat` times and resolves with the outputs in the order they were recorded. */
  async run(inputs: ArrayBufferView[] = [], repeat = 1, signal?: AbortSignal): Promise<ArrayBuffer[]> {
    return this.device.submit([this.step(inputs, repeat)], signal);
  }

  /** Runs once, op by op, and tells time, shape and non-finite values of each. */
  async trace(inputs: ArrayBufferView[] = [], signal?: AbortSignal): Promise<OpTrace[]> {
    const { program } = this.step(inputs);
    const run = () => callNative(() => native().traceProgram(program, inputs));
    const { values, opByOp } = await this.device.inTurn(run, signal);
    return this.#ops.map(({ label, name, result }, index) => ({
      label,
      op: name,
      shape: result?.shape ?? [],
      milliseconds: values[2 * index]!,
      nonFinite: values[2 * index + 1]!,
      ...(opByOp !== '' && { opByOp }),
    }));
  }

  /** How far the device is with {@link Choices}: on a GPU with cuDNN they take from seconds to minutes. */
  get choices(): Choices {
    return callNative(() => native().programChoices(this.step([]).program));
  }

  /** Frees the program and its arena once work in progress has ended. A second call does nothing. */
  dispose(): void {
    if (this.#released) return;
    this.#released = true;
    callNative(() => native().releaseProgram(this.#program));
    this.#arena.release();
  }
}

/** @throws PixelCnnError ERR_LIMIT for a tensor that is too large to be copied to or from the device. */
function checkTransferable({ name, bytes }: Tensor): void {
  check(bytes < 2 ** 31, 'ERR_LIMIT', () => {
    return `${name} has ${bytes} bytes; one transfer may have at most 2 GiB`;
  });
}

/** Offsets in blocks for every tensor without a place. Programs run one after the other, so they may share memory. */
function plan(recorders: readonly Recorder[]): { offsets: Map<Tensor, number>; blocks: number } {
  const lifetimes = new Map<Tensor, { first: number; last: number }>();
  const touch = (tensor: Tensor | null, first: number, last: number) => {
    if (tensor === null || tensor.placed) return;
    const known = lifetimes.get(tensor);
    lifetimes.set(tensor, {
      first: Math.min(first, known?.first ?? first),
      last: Math.max(last, known?.last ?? last),
    });
  };
  const end = recorders.reduce((count, { ops }) => count + ops.length, 0);
  let start = 0;
  for (const recorder of recorders) {
    const last = start + recorder.ops.length;
    for (const tensor of recorder.inputs) touch(tensor, start, start);
    recorder.ops.forEach((op, index) => {
      for (const operand of op.operands) touch(operand, start + index, start + index);
    });
    for (const tensor of recorder.outputs) touch(tensor, last, last);
    for (const tensor of recorder.states) touch(tensor, 0, end);
    start = last;
  }
  const tensors = [...lifetimes.keys()];
  const { offsets, blocks } = planMemory(
    tensors.map((tensor) => ({ blocks: blocksOf(tensor.bytes), ...lifetimes.get(tensor)! })),
  );
  return { offsets: new Map(tensors.map((tensor, index) => [tensor, offsets[index]!])), blocks };
}
