// Lays out the parameters of a network in an arena, so that each is a tensor and all of them are one flat region.
import type { LayerConfig } from '../layers/masked-conv2d.js';
import type { Arena, ArenaLayout } from '../program/arena.js';
import { blockBytes, elements, type Tensor } from '../program/tensor.js';

/** Values by parameter name (`net.0.weight` …) in PyTorch's layout: weights are OIHW. */
export type NamedArrays = Map<string, { shape: readonly number[]; data: Float32Array }>;

/** The weight (K, C, R, S) and bias (K) of every layer, contiguous in one arena. */
export class ParameterSet {
  readonly layers: readonly {
    readonly config: LayerConfig;
    readonly weight: Tensor;
    readonly bias: Tensor;
  }[];
  /** All of them as one float32 tensor, for the optimizer. The padding between them is always 0. */
  readonly flat: Tensor;

  constructor(layout: ArenaLayout, configs: readonly LayerConfig[], what: string) {
    const from = layout.blocks;
    this.layers = configs.map((config) => ({
      config,
      weight: layout.add(`${what} ${config.name}.weight`, weightShape(config), 'float32'),
      bias: layout.add(`${what} ${config.name}.bias`, [config.k], 'float32'),
    }));
    this.flat = layout.span(what, from);
  }

  /** Copies values of all parameters, which are checked already, into one array that is laid out like `flat`. */
  encode(values: NamedArrays): Float32Array {
    const flat = new Float32Array(elements(this.flat.shape));
    for (const { name, tensor } of this.#entries()) flat.set(values.get(name)!.data, this.#start(tensor));
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
      this.#entries().map(({ name, tensor }) => {
        const start = this.#start(tensor);
        return [name, { shape: tensor.shape, data: flat.slice(start, start + elements(tensor.shape)) }];
      }),
    );
  }

  /** Returns the index of a tensor's first value in `flat`. */
  #start(tensor: Tensor): number {
    return ((tensor.placed!.block - this.flat.placed!.block) * blockBytes) / 4;
  }

  #entries(): { name: string; tensor: Tensor }[] {
    return this.layers.flatMap(({ config, weight, bias }) => [
      { name: `${config.name}.weight`, tensor: weight },
      { name: `${config.name}.bias`, tensor: bias },
    ]);
  }
}

/** Returns the shape of a layer's weight: (K, C, R, S). */
export function weightShape({ c, k, kernelSize }: LayerConfig): [number, number, number, number] {
  return [k, c, kernelSize, kernelSize];
}
