// Clears a tensor.
import type { Recorder } from '../program/recorder.js';
import type { Tensor } from '../program/tensor.js';

/** Records zeros for the whole tensor. The op counts words of 32 bits, so it also clears up to 3 bytes of padding. */
export function zero(r: Recorder, label: string, y: Tensor): void {
  r.emit({ op: 'zero', label, fields: { count: Math.ceil(y.bytes / 4), y }, result: y });
}
