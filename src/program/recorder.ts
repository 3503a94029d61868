// Records ops into a command buffer: integers only, no data. Nothing native is called while recording.
import type { Arena, Device } from '../device/device.js';
import { native } from '../device/native.js';
import { check } from '../errors.js';
import {
  activationType,
  type DType,
  describeTensor,
  type Precision,
  precisions,
  type Tensor,
} from './tensor.js';

/** One recorded op. Wire format: id, count of the integers that follow, numbers, then (arena, block) per operand. */
export interface RecordedOp {
  readonly name: string;
  /** What traces and errors call it, e.g. `net.2 forward`. */
  readonly label: string;
  readonly numbers: readonly number[];
  /** Null stands for an absent optional operand. */
  readonly operands: readonly (Tensor | null)[];
  /** The op's main result, for the shapes that traces show. */
  readonly result: Tensor | undefined;
}

/** Collects the ops and tensors of one program. Turn it into one with {@link Program.compile}. */
export class Recorder {
  readonly device: Device;
  /** Of the activations of this program. */
  readonly precision: Precision;
  readonly ops: RecordedOp[] = [];
  readonly inputs: Tensor[] = [];
  readonly outputs: Tensor[] = [];
  /** Tensors that keep their memory from run to run. */
  readonly states = new Set<Tensor>();

  constructor(device: Device, precision: Precision = device.info.precision) {
    this.device = device;
    this.precision = precision;
  }

  /** The precision as ops encode it. */
  get precisionNumber(): number {
    return precisions.indexOf(this.precision);
  }

  /** A tensor of activations or their gradients. */
  activation(name: string, shape: readonly number[]): Tensor {
    return this.tensor(name, shape, activationType[this.precision]);
  }

  /** A state of activations. */
  activationState(name: string, shape: readonly number[]): Tensor {
    return this.state(name, shape, activationType[this.precision]);
  }

  /** A tensor that lives from the op that writes it to the last op that reads it. */
  tensor(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    return describeTensor(name, shape, dtype);
  }

  /** A tensor whose memory is its own: zero before the first run, kept between runs. */
  state(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    const tensor = describeTensor(name, shape, dtype);
    this.states.add(tensor);
    return tensor;
  }

  /** A tensor that every run fills from JavaScript before the first op. */
  input(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    const tensor = describeTensor(name, shape, dtype);
    this.inputs.push(tensor);
    return tensor;
  }

  /** Marks an existing tensor, e.g. one in a parameter arena, as filled by every run. */
  feed(tensor: Tensor): void {
    this.inputs.push(tensor);
  }

  /** Marks a tensor as returned by every run. */
  output(tensor: Tensor): void {
    this.outputs.push(tensor);
  }

  emit(op: RecordedOp): void {
    for (const operand of op.operands) {
      const owner = operand?.placed?.arena.device;
      check(owner === undefined || owner === this.device, 'ERR_WRONG_DEVICE', () => {
        return `${op.label}: tensor '${operand?.name}' belongs to another device`;
      });
    }
    this.ops.push(op);
  }
}

/** The integers of a program, given where each of its tensors lives. */
export function encodeOps(
  ops: readonly RecordedOp[],
  place: (tensor: Tensor) => { arena: number; block: number },
): Int32Array {
  const ids = new Map(native().opNames.map((name, id) => [name, id]));
  const wire: number[] = [];
  for (const op of ops) {
    const id = ids.get(op.name);
    check(id !== undefined, 'ERR_PROGRAM', () => `${op.label}: the native part has no op '${op.name}'`);
    wire.push(id, op.numbers.length + 2 * op.operands.length, ...op.numbers);
    for (const operand of op.operands) {
      const at = operand === null ? { arena: -1, block: 0 } : place(operand);
      wire.push(at.arena, at.block);
    }
  }
  return Int32Array.from(wire);
}

/** The arenas that recorded ops refer to, beside the program's own. */
export function arenasOf(recorder: Recorder): Arena[] {
  const arenas = new Set<Arena>();
  for (const op of recorder.ops)
    for (const operand of op.operands) if (operand?.placed) arenas.add(operand.placed.arena);
  for (const tensor of [...recorder.inputs, ...recorder.outputs])
    if (tensor.placed) arenas.add(tensor.placed.arena);
  return [...arenas];
}
