// Checks values that are given for a network's parameters, and clears those under the masks.
import { check } from '../errors.js';
import type { Declaration } from '../ops/declarations.js';
import { applyMask } from '../ops/window.js';
import { shapeText } from '../program/tensor.js';
import type { NamedArrays } from './parameters.js';

/**
 * Checks that `values` are the declared parameters, each of the right shape and finite. Weights under the mask may hold
 * anything; they are set to 0. Messages begin with `where`, and the names in them with `prefix`.
 */
export function checkParameters(
  declarations: Iterable<Declaration>,
  values: NamedArrays,
  where: string,
  prefix = '',
): void {
  const declared = [...declarations];
  checkShapes(declared, values, where, prefix);
  for (const { name, filter } of declared) {
    const { data } = values.get(name)!;
    if (filter !== null) applyMask(data, filter);
    check(isFinite32(data), 'CKPT_NONFINITE', () => {
      return `${where}: tensor '${prefix}${name}' has values that are not finite`;
    });
  }
}

/** Checks that `values` are the declared parameters and have the right shapes, and leaves the values as they are. */
export function checkShapes(
  declarations: readonly Declaration[],
  values: NamedArrays,
  where: string,
  prefix = '',
): void {
  const names = new Set(declarations.map(({ name }) => name));
  for (const name of values.keys()) {
    check(names.has(name), 'CKPT_UNKNOWN_TENSOR', () => {
      return `${where}: tensor '${prefix}${name}' is not part of the model`;
    });
  }
  for (const { name, shape } of declarations) {
    const value = values.get(name);
    check(
      value !== undefined,
      'CKPT_MISSING_TENSOR',
      () => `${where}: there is no tensor '${prefix}${name}'`,
    );
    check(shapeText(value.shape) === shapeText(shape), 'CKPT_SHAPE', () => {
      return `${where}: tensor '${prefix}${name}' must be ${shapeText(shape)}, got ${shapeText(value.shape)}`;
    });
  }
}

/** Whether no value is NaN or infinite. */
export function isFinite32(values: Float32Array): boolean {
  for (let i = 0; i < values.length; i += 1) if (!Number.isFinite(values[i])) return false;
  return true;
}
