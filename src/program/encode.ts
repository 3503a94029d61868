// Encodes recorded ops as the integers that native code decodes. The op table of the addon (`describe` of native/ops.h) says
// which fields an op has, and in which order.
import { native, type OpField } from '../device/native.js';
import { check } from '../errors.js';
import { type OpFields, operandsOf, type RecordedOp } from './recorded-op.js';
import type { Recorder } from './recorder.js';
import type { Tensor, TensorMemory } from './tensor.js';

/** Where a tensor lies: an arena of the program and a block in it. */
type Place = (tensor: Tensor) => { arena: number; block: number };

/**
 * Returns the integers of a program. An op is encoded as its id, the count of the integers that follow, and its fields: a
 * number as itself, a tensor as arena and block, which `place` gives. An absent tensor has arena -1.
 * @throws PixelCnnError ERR_PROGRAM for an op or a field that the op table does not have, and for a field that is missing.
 * Fields that an item of a list has besides are left out.
 */
export function encodeOps(ops: readonly RecordedOp[], place: Place): Int32Array {
  const { opTable } = native();
  const ids = new Map(opTable.map(({ name }, id) => [name, id]));
  const wire: number[] = [];
  for (const op of ops) {
    const id = ids.get(op.op);
    check(id !== undefined, 'ERR_PROGRAM', () => `${op.label}: the native part has no op '${op.op}'`);
    const start = wire.push(id, 0);
    encodeFields(wire, `${op.label} (${op.op})`, opTable[id]!.fields, op.fields, place);
    wire[start - 1] = wire.length - start;
  }
  return Int32Array.from(wire);
}

/** Returns the integers of a filter, as Device.packedBytes takes them. */
export function encodeFilter(fields: OpFields): Int32Array {
  const numbers = native().filterFields.map((name): OpField => ({ name, kind: 'number' }));
  const wire: number[] = [];
  encodeFields(wire, 'filter', numbers, fields, () => ({ arena: -1, block: 0 }));
  return Int32Array.from(wire);
}

function encodeFields(
  wire: number[],
  where: string,
  table: readonly OpField[],
  fields: OpFields,
  place: Place,
): void {
  const known = new Set(table.map(({ name }) => name));
  for (const name of Object.keys(fields))
    check(known.has(name), 'ERR_PROGRAM', () => `${where}: the op has no field '${name}'`);
  for (const field of table) encodeField(wire, where, field, fields[field.name], place);
}

function encodeField(
  wire: number[],
  where: string,
  field: OpField,
  value: OpFields[string] | undefined,
  place: Place,
): void {
  const { name, kind } = field;
  const isTensor = value !== null && typeof value === 'object' && !Array.isArray(value);
  if (kind === 'number' && typeof value === 'number') {
    wire.push(value);
  } else if (kind === 'tensor' && isTensor) {
    const { arena, block } = place(value as Tensor);
    wire.push(arena, block);
  } else if (kind === 'tensor' && field.optional && value === null) {
    wire.push(-1, 0);
  } else if (kind === 'list' && Array.isArray(value)) {
    // A list occurs once for its numbers and once for its tensors, and each occurrence takes its own fields of an item.
    for (const item of value as readonly OpFields[])
      for (const part of field.fields) encodeField(wire, where, part, item[part.name], place);
  } else {
    check(false, 'ERR_PROGRAM', () => `${where}: field '${name}' must be a ${kind}`);
  }
}

/** Returns the arenas that a program uses besides its own. */
export function arenasOf(recorder: Recorder): TensorMemory[] {
  const arenas = new Set<TensorMemory>();
  for (const op of recorder.ops)
    for (const operand of operandsOf(op)) if (operand.placed) arenas.add(operand.placed.arena);
  for (const tensor of [...recorder.inputs, ...recorder.outputs])
    if (tensor.placed) arenas.add(tensor.placed.arena);
  return [...arenas];
}
