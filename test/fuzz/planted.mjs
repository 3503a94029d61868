// Readers with a defect each, which the fuzzer must find: the IDX reader, but for arrays of rank 4.
import { decodeIdx } from '../../dist/data/idx.js';
import { idxTarget } from './idx-target.mjs';

const kept = [];

function planted(defect) {
  return idxTarget((bytes, options) => {
    const array = decodeIdx(bytes, options);
    return array.shape.length === 4 ? defect(array) : array;
  });
}

export const plantedTargets = {
  'planted-foreign-error': planted(() => {
    throw new TypeError('cannot read properties of undefined');
  }),
  'planted-wrong-value': planted((array) => ({ ...array, shape: array.shape.toReversed() })),
  'planted-hang': planted(() => {
    for (;;);
  }),
  'planted-memory': planted((array) => {
    kept.push(Buffer.alloc(2 ** 26, 1));
    return array;
  }),
  'planted-exit': planted(() => process.exit(3)),
};
