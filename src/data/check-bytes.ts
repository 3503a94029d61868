// Checks on byte arrays and integers that come from outside: class, detachment, shared memory, range.
import { check } from '../errors.js';
import { show } from '../options.js';
import { isSharedArrayBuffer, isUint8Array } from '../realm.js';

/** True when the buffer under `view` was transferred away (works on Node 20, which has no `ArrayBuffer.detached`). */
export function isDetached(view: ArrayBufferView): boolean {
  if (view.byteLength > 0 || view.buffer.byteLength > 0) return false;
  try {
    return new Uint8Array(view.buffer).length < 0;
  } catch {
    return true;
  }
}

/**
 * Throws unless `value` is a Uint8Array (a Buffer is one) over live memory of this thread alone.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE (other class, SharedArrayBuffer), ERR_DETACHED.
 */
export function checkBytes(value: unknown, name: string): asserts value is Uint8Array {
  check(isUint8Array(value), 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must be a Uint8Array, got ${show(value)}`;
  });
  check(!isSharedArrayBuffer(value.buffer), 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must not lie in a SharedArrayBuffer (${value.byteLength} bytes): another thread could change it`;
  });
  check(
    !isDetached(value),
    'ERR_DETACHED',
    () => `the buffer of ${name} is detached: it was transferred elsewhere`,
  );
}

/**
 * Returns `value` if it is an integer in [minimum, maximum].
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE (not a number), ERR_OUT_OF_RANGE.
 */
export function checkInteger(value: unknown, name: string, minimum: number, maximum: number): number {
  check(typeof value === 'number', 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must be an integer, got ${show(value)}`;
  });
  check(Number.isInteger(value) && value >= minimum && value <= maximum, 'ERR_OUT_OF_RANGE', () => {
    return `${name} must be an integer in [${minimum}, ${maximum}], got ${show(value)}`;
  });
  return value + 0; // -0 counts as 0
}

/** The same bytes as a plain Uint8Array: a Buffer's own `slice` would not copy. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** ` in NAME` for error messages, or nothing when the file is not known. */
export function inFile(file: string | undefined): string {
  return file === undefined ? '' : ` in ${file}`;
}
