// Lays out the parameters of a network in an arena, so that each is a tensor and all of them are one flat region.
import type { Declaration } from '../ops/declarations.js';
import type { Arena, ArenaLayout } from '../program/arena.js';
import { blockBytes, elements, type Tensor } from '../program/tensor.js';

/** Values by parameter name (`net.0.weight` …) in PyTorch's layout: weights are OIHW. */
export type NamedArrays = Map<string, { shape: readonly number[]; data: Float32Array }>;

/** A tensor for each parameter of a network, contiguous in one arena. */
export class ParameterSet {
  readonly byName: ReadonlyMap<string, Tensor>;
  /** All of them as one float32 tensor, for the optimizer. The padding between them is always 0. */
  readonly flat: Tensor;

  /** Adds a tensor for each parameter to the layout. `set` names them in messages, e.g. `raw` or `moment1`. */
  constructor(layout: ArenaLayout, declarations: Iterable<Declaration>, set: string) {
    const from = layout.blocks;
    this.byName = new Map(
      Array.from(declarations, ({ name, shape }) => [name, layout.add(`${set} ${name}`, shape, 'float32')]),
    );
    this.flat = layout.span(set, from);
  }

  /** Copies values of all parameters, which are checked already, into one array that is laid out like `flat`. */
  encode(values: NamedArrays): Float32Array {
    const flat = new Float32Array(elements(this.flat.shape));
    for (const [name, tensor] of this.byName) flat.set(values.get(name)!.data, this.#start(tensor));
    return flat;
  }

  /** Writes values of all parameters. */
  async write(arena: Arena, values: NamedArrays): Promise<void> {
    await arena.write(this.flat, this.encode(values));
  }

  /** Reads the values of all parameters. */
  async read(arena: Arena): Promise<NamedArrays> {
    const flat = new Float32Array(await arena.read(this.flat));
    return new Map(
      Array.from(this.byName, ([name, tensor]) => {
        const start = this.#start(tensor);
        return [name, { shape: tensor.shape, data: flat.slice(start, start + elements(tensor.shape)) }];
      }),
    );
  }

  /** Returns the index of a tensor's first value in `flat`. */
  #start(tensor: Tensor): number {
    return ((tensor.placed!.block - this.flat.placed!.block) * blockBytes) / 4;
  }
}
