// Reads binary CIFAR-10 batches: records of one label byte and three colour planes of 32x32 bytes.
import { check } from '../errors.js';
import { inFile } from '../show.js';
import { checkBytes } from './check-array.js';
import type { ImageBatch } from './image-batch.js';

const SIDE = 32;
const PLANE = SIDE * SIDE;
const RECORD = 1 + 3 * PLANE;
const CLASSES = 10;
const MAXIMUM_BYTES = 2 ** 30;

/**
 * Reads one CIFAR-10 batch of up to 1 GiB. The records of 1 + 3072 bytes, in CHW order, become images (count,
 * 32, 32, 3) and labels (count).
 */
export function parseCifar(bytes: Uint8Array, options: { file?: string } = {}): ImageBatch {
  checkBytes(bytes, 'bytes');
  const where = inFile(options.file);
  check(bytes.length > 0 && bytes.length % RECORD === 0, 'CIFAR_TRUNCATED', () => {
    return `a CIFAR-10 batch is a whole number of records of ${RECORD} bytes, got ${bytes.length} bytes${where}`;
  });
  check(
    bytes.length <= MAXIMUM_BYTES,
    'CIFAR_LIMIT',
    () => `${bytes.length} bytes, limit ${MAXIMUM_BYTES}${where}`,
  );
  const count = bytes.length / RECORD;
  const data = new Uint8Array(count * 3 * PLANE);
  const labels = new Uint8Array(count);
  for (let n = 0; n < count; ++n) {
    const label = bytes[n * RECORD] as number;
    check(
      label < CLASSES,
      'CIFAR_LABEL_RANGE',
      () => `label of image ${n} is ${label}, outside [0, ${CLASSES})${where}`,
    );
    labels[n] = label;
    const planes = n * RECORD + 1;
    const pixels = n * 3 * PLANE;
    for (let i = 0; i < PLANE; ++i) {
      for (let c = 0; c < 3; ++c) data[pixels + 3 * i + c] = bytes[planes + c * PLANE + i] as number;
    }
  }
  return { data, count, height: SIDE, width: SIDE, channels: 3, labels };
}
