// Collects the filters whose weights are packed together, ahead of the ops that use them.
import type { OpFields } from './recorded-op.js';
import { describeTensor, type Tensor } from './tensor.js';

/** The filters whose packed weights programs read. `recordPacking` records the packing in one of these programs. */
export class PackList {
  readonly #filters = new Map<string, { readonly packed: Tensor; readonly fields: OpFields }>();

  /**
   * Describes the packed weights of a filter. A filter is known by its `key`, and is packed once however many ops ask for
   * it. `describe` gives its fields in the op that packs.
   */
  packed(key: string, bytes: () => number, describe: (packed: Tensor) => OpFields): Tensor {
    const known = this.#filters.get(key);
    if (known !== undefined) return known.packed;
    const packed = describeTensor(key, [bytes()], 'byte');
    this.#filters.set(key, { packed, fields: describe(packed) });
    return packed;
  }

  /** The packed weights of all filters. */
  get tensors(): readonly Tensor[] {
    return Array.from(this.#filters.values(), ({ packed }) => packed);
  }

  /** The fields of all filters in the op that packs, in the same order. */
  get fields(): readonly OpFields[] {
    return Array.from(this.#filters.values(), ({ fields }) => fields);
  }
}
