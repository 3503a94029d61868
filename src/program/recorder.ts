// Records the ops of a program as plain descriptions. Recording computes nothing and allocates no device memory.
import type { Device } from '../device/device.js';
import { type Precision, precisions } from '../device/precision.js';
import { check } from '../errors.js';
import { activationType, type DType, describeTensor, type Tensor } from './tensor.js';

/** One recorded op: its fields in the order in which `describe` of native/ops.h reads them. */
export interface RecordedOp {
  /** The op's name in the op table, e.g. `maskedConv2dForward`. */
  readonly name: string;
  /** The name that traces and errors show, e.g. `net.2 forward`. */
  readonly label: string;
  readonly numbers: readonly number[];
  /** The tensors that the op reads and writes. An optional operand that is absent is null. */
  readonly operands: readonly (Tensor | null)[];
  /** The op's main result, whose shape traces show. */
  readonly result: Tensor | undefined;
}

/** Collects the ops and tensors of one program, which {@link Program.compile} then makes runnable. */
export class Recorder {
  readonly device: Device;
  /** The precision of this program's activations. */
  readonly precision: Precision;
  readonly ops: RecordedOp[] = [];
  /** Tensors that every run fills from JavaScript, in the order in which runs give their values. */
  readonly inputs: Tensor[] = [];
  /** Tensors whose values every run returns. */
  readonly outputs: Tensor[] = [];
  /** Tensors that keep their memory from run to run. */
  readonly states = new Set<Tensor>();

  constructor(device: Device, precision: Precision = device.info.precision) {
    this.device = device;
    this.precision = precision;
  }

  /** The precision as a number of native/op_shapes.h. */
  get precisionNumber(): number {
    return precisions.indexOf(this.precision);
  }

  /** Describes a tensor of activations or their gradients, whose element type follows from the precision. */
  activation(name: string, shape: readonly number[]): Tensor {
    return this.tensor(name, shape, activationType[this.precision]);
  }

  /** Describes a state of activations. */
  activationState(name: string, shape: readonly number[]): Tensor {
    return this.state(name, shape, activationType[this.precision]);
  }

  /** Describes a tensor that lives from the op that writes it to the last op that reads it. */
  tensor(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    return describeTensor(name, shape, dtype);
  }

  /** Describes a tensor that shares its memory with no other: it is zero before the first run and kept between runs. */
  state(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    const tensor = describeTensor(name, shape, dtype);
    this.states.add(tensor);
    return tensor;
  }

  /** Describes a tensor that every run fills from JavaScript before the first op. */
  input(name: string, shape: readonly number[], dtype: DType = 'float32'): Tensor {
    const tensor = describeTensor(name, shape, dtype);
    this.inputs.push(tensor);
    return tensor;
  }

  /** Has every run fill an existing tensor, e.g. a state or one in an arena, from JavaScript before the first op. */
  fill(tensor: Tensor): void {
    this.inputs.push(tensor);
  }

  /** Has every run return the values of a tensor. */
  output(tensor: Tensor): void {
    this.outputs.push(tensor);
  }

  /** Appends an op. @throws PixelCnnError ERR_WRONG_DEVICE for a tensor in the memory of another device. */
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
