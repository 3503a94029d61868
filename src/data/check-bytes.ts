// Checks byte arrays that callers pass in: their class, and whether their memory is detached or shared.
import { check } from '../errors.js';
import { isSharedArrayBuffer, isUint8Array } from '../realm.js';
import { show } from '../show.js';

/**
 * Whether the buffer of `view` was transferred away. Also works on Node 20, which has no
 * `ArrayBuffer.detached`.
 */
export function isDetached(view: ArrayBufferView): boolean {
  if (view.byteLength > 0 || view.buffer.byteLength > 0) return false;
  try {
    return new Uint8Array(view.buffer).length < 0;
  } catch {
    return true;
  }
}

/**
 * Throws unless `value` is a Uint8Array (a Buffer is one) whose memory is neither detached nor shared with
 * other threads.
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
 * Returns a plain Uint8Array over the same memory. `slice` of a Buffer does not copy; that of a Uint8Array
 * does.
 */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
