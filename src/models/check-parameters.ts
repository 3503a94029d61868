// Checks values that are given for a network's parameters, and clears those under the masks.
import { check } from '../errors.js';
import type { LayerConfig } from '../layers/masked-conv2d.js';
import { isLiveTap, tapsBeforeCentre } from '../ops/masked-conv2d.js';
import { shapeText } from '../program/tensor.js';
import { type NamedArrays, weightShape } from './parameters.js';

/**
 * Checks that `values` are the parameters of these layers, each of the right shape and finite. Weights under the mask may
 * hold anything; they are set to 0. Messages begin with `where`, and the names in them with `prefix`.
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

/** Sets the weights (K, C, R, S) under the mask to exactly 0. */
export function applyMask(weight: Float32Array, config: LayerConfig): void {
  const { c: inputs, kernelSize } = config;
  const centre = (kernelSize - 1) / 2;
  const centreTap = tapsBeforeCentre(kernelSize);
  for (let filter = 0; filter < weight.length; filter += kernelSize * kernelSize) {
    const o = Math.floor(filter / (inputs * kernelSize * kernelSize));
    const c = (filter / (kernelSize * kernelSize)) % inputs;
    weight.fill(0, filter + centreTap + 1, filter + kernelSize * kernelSize);
    if (!isLiveTap(config, o, c, centre, centre)) weight[filter + centreTap] = 0;
  }
}
