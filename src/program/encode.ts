// Encodes recorded ops as the integers that native code decodes (native/ops.h says what each op consists of).
import { native } from '../device/native.js';
import { check } from '../errors.js';
import type { RecordedOp, Recorder } from './recorder.js';
import type { Tensor, TensorMemory } from './tensor.js';

/**
 * Returns the integers of a program. An op is encoded as its id, the count of the integers that follow, its numbers, and
 * arena and block of each operand, as `place` gives them. An absent operand has arena -1.
 */
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

/** Returns the arenas that a program uses besides its own. */
export function arenasOf(recorder: Recorder): TensorMemory[] {
  const arenas = new Set<TensorMemory>();
  for (const op of recorder.ops)
    for (const operand of op.operands) if (operand?.placed) arenas.add(operand.placed.arena);
  for (const tensor of [...recorder.inputs, ...recorder.outputs])
    if (tensor.placed) arenas.add(tensor.placed.arena);
  return [...arenas];
}
