// Checks that a protocol fits a model and its images.
import type { ImageValues } from '../data/image-batch.js';
import type { Protocol } from '../data/protocol.js';
import { check } from '../errors.js';

/** Refuses to binarise images for a model of more than 2 levels, and images that hold levels already. */
export function checkProtocol(
  caller: string,
  protocol: Protocol,
  levels: number,
  values: ImageValues | undefined,
): void {
  check(protocol === 'levels' || values !== 'levels', 'ERR_INVALID_ARG_VALUE', () => {
    return `${caller}: protocol '${protocol}' turns bytes into levels, these images hold levels already: use protocol 'levels'`;
  });
  check(protocol === 'levels' || levels === 2, 'ERR_INVALID_ARG_VALUE', () => {
    return `${caller}: protocol '${protocol}' needs a model of 2 levels, this one has ${levels}`;
  });
}
