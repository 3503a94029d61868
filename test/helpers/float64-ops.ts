// Computes the recorded ops of a forward pass in float64, so that a whole network has a reference without being
// written again.
import type { RecordedOp } from '../../src/program/recorded-op.js';
import { ownRows } from '../../src/program/sight.js';
import type { Tensor } from '../../src/program/tensor.js';
import { plusCondition, rowsAt } from '../oracle/condition.js';
import { gateForward } from '../oracle/gate.js';
import { convForward } from '../oracle/masked-conv2d.js';
import { crossEntropy } from '../oracle/network.js';

/** The values of tensors. Those of parameters and inputs are set before a run. */
export type Memory = Map<Tensor, Float64Array>;

/** Computes every op in order. Throws for an op that is not part of a forward pass over whole images. */
export function runInFloat64(ops: readonly RecordedOp[], memory: Memory): void {
  const weightOf = new Map<Tensor, Tensor>();
  const values = (x: Tensor) => {
    const found = memory.get(x);
    if (found === undefined) throw new Error(`'${x.name}' has no values`);
    return found;
  };
  for (const { op, fields } of ops) {
    const tensor = (name: string) => fields[name] as Tensor;
    const optional = (name: string) => (fields[name] === null ? undefined : values(tensor(name)));
    const number = (name: string) => fields[name] as number;
    const numbers = <Name extends string>(...names: Name[]) =>
      Object.fromEntries(names.map((name) => [name, number(name)])) as Record<Name, number>;
    if (op === 'maskedConv2dPack') {
      for (const item of fields.filter as readonly { weight: Tensor; packed: Tensor }[])
        weightOf.set(item.packed, item.weight);
    } else if (op === 'quantise') {
      const level = values(tensor('bytes')).map((byte) => Math.floor((byte * number('levels')) / 256));
      memory.set(tensor('level'), level);
      memory.set(
        tensor('x'),
        level.map((value) => value / (number('levels') - 1)),
      );
    } else if (op === 'maskedConv2d' && fields.pixels === 0) {
      const sizes = numbers('n', 'h', 'w', 'c', 'k', 'rows', 'columns', 'above', 'left');
      const shape = {
        ...sizes,
        groups: number('channelGroups'),
        pairs: number('pairs') === 1,
        ownRow: ownRows[number('ownRow')]!,
      };
      const weight = values(weightOf.get(tensor('packed'))!);
      const add = optional('add');
      const y = convForward(
        shape,
        values(tensor('x')),
        weight,
        optional('bias') ?? new Float64Array(shape.k),
      );
      const least = number('relu') === 1 ? 0 : -Infinity;
      memory.set(
        tensor('y'),
        y.map((value, i) => Math.max(value + (add?.[i] ?? 0), least)),
      );
    } else if (op === 'gatedActivation' && fields.pixels === 0) {
      const sums = plusCondition(values(tensor('x')), optional('condition'), number('n'));
      memory.set(tensor('y'), gateForward(sums));
    } else if (op === 'addCondition' && fields.pixels === 0) {
      const sums = plusCondition(values(tensor('x')), values(tensor('condition')), number('n'));
      const least = number('relu') === 1 ? 0 : -Infinity;
      memory.set(
        tensor('y'),
        sums.map((value) => Math.max(value, least)),
      );
    } else if (op === 'embedding') {
      memory.set(tensor('y'), rowsAt(values(tensor('table')), values(tensor('index')), number('size')));
    } else if (op === 'cast') {
      memory.set(tensor('y'), values(tensor('x')));
    } else if (op === 'softmaxCrossEntropy') {
      const { n, h, w, c, channels, levels } = numbers('n', 'h', 'w', 'c', 'channels', 'levels');
      const shape = { n, h, w, c, k: channels * levels, groups: channels, size: 1, mask: 'B' as const };
      const weight = values(weightOf.get(tensor('packed'))!);
      const logits = convForward(shape, values(tensor('x')), weight, values(tensor('bias')));
      memory.set(tensor('nats'), crossEntropy(logits, values(tensor('level')), n, levels));
    } else {
      throw new Error(`${op} has no float64 loops here`);
    }
  }
}
