// The parameters of a network in an arena: one flat region for the optimizer, one tensor per weight and bias.
import type { Arena, ArenaLayout } from '../device/device.js';
import { check } from '../errors.js';
import type { LayerConfig } from '../layers/masked-conv2d.js';
import { isLiveTap } from '../ops/masked-conv2d.js';
import { blockBytes, elements, shapeText, type Tensor } from '../program/tensor.js';
import { philox, seedKey } from '../random/philox.js';

/** Named values, in PyTorch's layout: weights OIHW. */
export type NamedArrays = Map<string, { shape: readonly number[]; data: Float32Array }>;

/** Weight (K, C, R, S) and bias (K) of every layer, contiguous in one arena. */
export class ParameterSet {
  readonly layers: readonly {
    readonly config: LayerConfig;
    readonly weight: Tensor;
    readonly bias: Tensor;
  }[];
  /** All of them as one float32 tensor, with the padding between them (always 0). */
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

  /** Values for every parameter, as {@link checkParameters} leaves them, as the flat tensor's. */
  encode(values: NamedArrays): Float32Array {
    const flat = new Float32Array(elements(this.flat.shape));
    for (const { name, tensor } of this.#entries()) flat.set(values.get(name)!.data, this.#start(tensor));
    return flat;
  }

  /** Writes values for every parameter. */
  async write(arena: Arena, values: NamedArrays): Promise<void> {
    await arena.write(this.flat, this.encode(values));
  }

  /** Reads all parameters. */
  async read(arena: Arena): Promise<NamedArrays> {
    const flat = new Float32Array(await arena.read(this.flat));
    return new Map(
      this.#entries().map(({ name, tensor }) => {
        const start = this.#start(tensor);
        return [name, { shape: tensor.shape, data: flat.slice(start, start + elements(tensor.shape)) }];
      }),
    );
  }

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

/**
 * Checks that `values` are the parameters of these layers, each of its shape and finite, and sets the weights under
 * the mask, which may hold anything, to 0. `where` begins the messages, `prefix` the names in them.
 * @throws PixelCnnError CKPT_MISSING_TENSOR, CKPT_UNKNOWN_TENSOR, CKPT_SHAPE, CKPT_NONFINITE.
 */
export function checkParameters(
  configs: readonly LayerConfig[],
  values: NamedArrays,
  where: string,
  prefix = '',
): void {
  const shapes = new Map<string, { shape: readonly number[]; config: LayerConfig }>();
  for (const config of configs) {
    shapes.set(`${config.name}.weight`, { shape: weightShape(config), config });
    shapes.set(`${config.name}.bias`, { shape: [config.k], config });
  }
  for (const name of values.keys()) {
    check(shapes.has(name), 'CKPT_UNKNOWN_TENSOR', () => {
      return `${where}: tensor '${prefix}${name}' is not part of the model`;
    });
  }
  for (const [name, { shape, config }] of shapes) {
    const value = values.get(name);
    check(
      value !== undefined,
      'CKPT_MISSING_TENSOR',
      () => `${where}: there is no tensor '${prefix}${name}'`,
    );
    check(shapeText(value.shape) === shapeText(shape), 'CKPT_SHAPE', () => {
      return `${where}: tensor '${prefix}${name}' must be ${shapeText(shape)}, got ${shapeText(value.shape)}`;
    });
    if (name.endsWith('.weight')) applyMask(value.data, config);
    check(isFinite32(value.data), 'CKPT_NONFINITE', () => {
      return `${where}: tensor '${prefix}${name}' has values that are not finite`;
    });
  }
}

/** Whether no value is NaN or infinite. */
export function isFinite32(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i += 1) if (!Number.isFinite(values[i])) return false;
  return true;
}

export function weightShape({ c, k, kernelSize }: LayerConfig): [number, number, number, number] {
  return [k, c, kernelSize, kernelSize];
}

/** Sets the weights (K, C, R, S) under the mask to exactly 0. */
function applyMask(weight: Float32Array, config: LayerConfig): void {
  const { c: inputs, kernelSize } = config;
  const centre = (kernelSize - 1) / 2;
  const centreTap = centre * kernelSize + centre;
  for (let filter = 0; filter < weight.length; filter += kernelSize * kernelSize) {
    const o = Math.floor(filter / (inputs * kernelSize * kernelSize));
    const c = (filter / (kernelSize * kernelSize)) % inputs;
    weight.fill(0, filter + centreTap + 1, filter + kernelSize * kernelSize);
    if (!isLiveTap(config, o, c, centre, centre)) weight[filter + centreTap] = 0;
  }
}

/** Random words between two turns of the event loop: about 2 ms. */
const wordsPerTurn = 2 ** 14;

/**
 * Initial values, a function of the seed alone: weights uniform in ±sqrt(6 / live inputs) for layers followed by ReLU
 * (He et al. 2015), ±sqrt(1 / live inputs) for the last one; biases 0.
 */
export async function initialParameters(
  configs: readonly LayerConfig[],
  seed: number | bigint,
): Promise<NamedArrays> {
  const key = seedKey(seed);
  const words = new Uint32Array(4);
  const values: NamedArrays = new Map();
  for (const [index, config] of configs.entries()) {
    const { c, k, kernelSize } = config;
    const centre = (kernelSize - 1) / 2;
    const liveTaps = centre * kernelSize + centre + (config.maskType === 'B' ? 1 : 0);
    const gain = index === configs.length - 1 ? 1 : 6;
    const bound = Math.sqrt(gain / Math.max(liveTaps * c, 1));
    const weight = new Float32Array(k * c * kernelSize * kernelSize);
    const counter = [0, index, 0, 2];
    for (let i = 0; i < weight.length; i += 4) {
      counter[0] = i / 4;
      philox(counter, key, words);
      for (let lane = 0; lane < 4 && i + lane < weight.length; lane += 1) {
        weight[i + lane] = ((words[lane]! >>> 8) * 2 ** -23 - 1) * bound;
      }
      if (counter[0] % wordsPerTurn === wordsPerTurn - 1) await new Promise(setImmediate);
    }
    applyMask(weight, config);
    values.set(`${config.name}.weight`, { shape: weightShape(config), data: weight });
    values.set(`${config.name}.bias`, { shape: [k], data: new Float32Array(k) });
  }
  return values;
}
