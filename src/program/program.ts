// Makes recorded programs runnable: plans their memory, has native code check them, then runs each with one call.
import type { Device, ProgramRun } from '../device/device.js';
import { callNative, type NativeProgram, native } from '../device/native.js';
import { check, PixelCnnError } from '../errors.js';
import { Arena } from './arena.js';
import { arenasOf, encodeOps } from './encode.js';
import { planMemory } from './memory-plan.js';
import { operandsOf, type RecordedOp } from './recorded-op.js';
import type { Recorder } from './recorder.js';
import { blockBytes, blocksOf, type Tensor, type TensorMemory } from './tensor.js';

/** The measurements of one op in a traced run. */
export interface OpTrace {
  readonly label: string;
  readonly op: string;
  /** Shape of the op's main result. */
  readonly shape: readonly number[];
  readonly milliseconds: number;
  /** The number of values that the op wrote and that are NaN or infinite. */
  readonly nonFinite: number;
  /** On a GPU the reason why the op's program cannot be captured into a CUDA graph, if there is one. */
  readonly opByOp?: string;
}

/**
 * The progress of a device in choosing the fastest algorithm for each convolution of a program. It chooses before the
 * program's first run; at all other times the progress is 0 of 0.
 */
export interface Choices {
  /** The convolutions whose algorithm is chosen, out of `of`. */
  readonly made: number;
  readonly of: number;
}

/** The memory of a program in bytes, besides the arenas of parameters that it uses. */
export interface ProgramMemory {
  /** Holds the tensors that its memory plan places. */
  readonly arena: number;
  /** The scratch memory of its largest op. The programs of a device share it. */
  readonly workspace: number;
}

/** A compiled list of ops, with the memory that they need, which a device can run many times. */
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
    // The memory plan may reuse an ordinary input's memory after its last use, so only a program whose inputs all keep
    // their memory can repeat its ops on them.
    this.#repeatable = recorder.inputs.every((tensor) => tensor.placed || recorder.states.has(tensor));
  }

  /**
   * Plans the program's memory, allocates it and has native code check every op.
   * @throws PixelCnnError ERR_PROGRAM for an op that native code refuses; the message names the op and the field.
   */
  static async compile(recorder: Recorder): Promise<Program> {
    const [program] = await Program.compileShared([recorder]);
    return program!;
  }

  /** Compiles programs that share states: they get one arena, in which every state has one place for all of them. */
  static async compileShared(recorders: readonly Recorder[]): Promise<Program[]> {
    const device = recorders[0]!.device;
    const { offsets, blocks } = planOffsets(recorders);
    for (const { inputs, outputs } of recorders) [...inputs, ...outputs].forEach(checkTransferable);
    const arena = await Arena.allocate(device, Math.max(blocks, 1) * blockBytes);
    const programs: Program[] = [];
    try {
      for (const recorder of recorders) {
        const arenas: TensorMemory[] = [arena, ...arenasOf(recorder)];
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

  /**
   * Describes one run for {@link Device.submit}. `inputs` are in the order in which they were recorded; they are copied
   * when the run is submitted.
   */
  step(inputs: ArrayBufferView[], repeat = 1): ProgramRun {
    if (this.#released) throw new PixelCnnError('ERR_DISPOSED', 'the program has been disposed');
    check(!(repeat > 1) || this.#repeatable, 'ERR_OUT_OF_RANGE', () => {
      return `repeat must be 1 for a program whose inputs are not states, got ${repeat}`;
    });
    return { program: this.#program, inputs, repeat, labels: this.#labels };
  }

  /** Runs the ops `repeat` times and resolves with the outputs in the order in which they were recorded. */
  async run(inputs: ArrayBufferView[] = [], repeat = 1, signal?: AbortSignal): Promise<ArrayBuffer[]> {
    return this.device.submit([this.step(inputs, repeat)], signal);
  }

  /** Runs once, op by op, and resolves with time, shape and non-finite values of each op. */
  async trace(inputs: ArrayBufferView[] = [], signal?: AbortSignal): Promise<OpTrace[]> {
    const { program } = this.step(inputs);
    const run = () => callNative(() => native().traceProgram(program, inputs));
    const { values, opByOp } = await this.device.whenFree(run, signal);
    return this.#ops.map(({ label, op, result }, index) => ({
      label,
      op,
      shape: result?.shape ?? [],
      milliseconds: values[2 * index]!,
      nonFinite: values[2 * index + 1]!,
      ...(opByOp !== '' && { opByOp }),
    }));
  }

  /** The progress of the device's {@link Choices}, which take seconds to minutes on a GPU with cuDNN. */
  get choices(): Choices {
    return callNative(() => native().programChoices(this.step([]).program));
  }

  /** The memory that the program takes, in bytes. Its workspace is known after the first run. */
  get memory(): ProgramMemory {
    const workspace = callNative(() => native().programWorkspace(this.step([]).program));
    return { arena: this.#arena.bytes, workspace };
  }

  /** Frees the program and its arena once work in progress has ended. A second call does nothing. */
  dispose(): void {
    if (this.#released) return;
    this.#released = true;
    callNative(() => native().releaseProgram(this.#program));
    this.#arena.release();
  }
}

/** Refuses a tensor that is too large to be copied to or from the device. */
function checkTransferable({ name, bytes }: Tensor): void {
  check(bytes < 2 ** 31, 'ERR_LIMIT', () => {
    return `${name} has ${bytes} bytes; one transfer may have at most 2 GiB`;
  });
}

/**
 * Finds an offset, in blocks, for every tensor that has no place yet. The programs run one after the other, so their
 * tensors may share memory.
 */
function planOffsets(recorders: readonly Recorder[]): { offsets: Map<Tensor, number>; blocks: number } {
  const lifetimes = new Map<Tensor, { first: number; last: number }>();
  const touch = (tensor: Tensor, first: number, last: number) => {
    if (tensor.placed) return;
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
      for (const operand of operandsOf(op)) touch(operand, start + index, start + index);
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
