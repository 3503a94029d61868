// Packs the weights of all filters of a program together, with as few ops as possible.
import type { OpFields } from '../program/recorded-op.js';
import type { PackList as Packs, Recorder } from '../program/recorder.js';
import { describeTensor, type Tensor } from '../program/tensor.js';
import { maskedConv2dPack } from './masked-conv2d.js';

/** The filters whose packed weights programs read, and which one of these programs packs. */
export class PackList implements Packs {
  readonly #filters = new Map<string, { readonly packed: Tensor; readonly fields: OpFields }>();

  packed(key: string, bytes: () => number, describe: (packed: Tensor) => OpFields): Tensor {
    const known = this.#filters.get(key);
    if (known !== undefined) return known.packed;
    const packed = describeTensor(key, [bytes()], 'byte');
    this.#filters.set(key, { packed, fields: describe(packed) });
    return packed;
  }

  record(r: Recorder, before: number): void {
    const filters = [...this.#filters.values()];
    const from = r.ops.length;
    for (const { packed } of filters) r.states.add(packed);
    maskedConv2dPack(
      r,
      'pack',
      filters.map(({ fields }) => fields),
    );
    r.moveOps(from, before);
  }
}
