// Plants defects that the fuzzer must find.
//
// The IDX readers fail for arrays of rank 4 or for several gzip members, and the PNG decoder where it
// tolerates a fault.
import { decodeIdx } from '../../dist/data/idx.js';
import { decodePng } from '../../dist/data/png.js';
import { NOTES } from '../../dist/data/png-header.js';
import { PixelCnnError } from '../../dist/errors.js';
import { idxTarget } from './idx-target.mjs';
import { pngTarget } from './png-target.mjs';

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
  'planted-one-member': idxTarget((bytes, options) => {
    const array = decodeIdx(bytes, options);
    const second = Buffer.from(bytes.subarray(1)).indexOf(Buffer.of(0x1f, 0x8b, 8));
    if (bytes[0] === 0x1f && second >= 0) throw new PixelCnnError('IDX_GZIP', 'several members');
    return array;
  }),
  'planted-silence': pngTarget((bytes, options) => {
    const image = decodePng(bytes, options);
    return { ...image, notes: image.notes.filter((note) => note === NOTES.trailing) };
  }),
  'planted-other-pixels': pngTarget((bytes, options) => {
    const image = decodePng(bytes, options);
    return options.strict || image.channels < 4 ? image : { ...image, data: image.data.toReversed() };
  }),
  'planted-refusal': pngTarget((bytes, options) => {
    const image = decodePng(bytes, options);
    if (!options.strict && image.channels === 2) throw new PixelCnnError('PNG_TRNS', 'two channels');
    return image;
  }),
};
