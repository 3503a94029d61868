// Clears a tensor.
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** Writes zeros up to the end of the tensor's last word of 32 bits. */
export function zero(r: Recorder, label: string, y: Tensor): void {
  r.emit({ name: 'zero', label, numbers: [Math.ceil(y.bytes / 4)], operands: [y], result: y });
}
