// Checks arrays of numbers that callers pass in: their class, and whether their memory is detached or shared.
import { check } from '../errors.js';
import { isFloat32Array, isSharedArrayBuffer, isUint8Array, isUint16Array } from '../realm.js';
import { show } from '../show.js';

/** The classes of arrays that callers may pass in. */
interface ArrayClasses {
  Uint8Array: Uint8Array;
  Uint16Array: Uint16Array;
  Float32Array: Float32Array;
}

const isOfClass: Readonly<Record<keyof ArrayClasses, (value: unknown) => boolean>> = {
  Uint8Array: isUint8Array,
  Uint16Array: isUint16Array,
  Float32Array: isFloat32Array,
};

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
 * Throws unless `value` is an array of one of `classes`, of any realm, whose memory is neither detached nor
 * shared with other threads. A Buffer is a Uint8Array.
 */
export function checkArray<Class extends keyof ArrayClasses>(
  value: unknown,
  name: string,
  classes: readonly Class[],
): asserts value is ArrayClasses[Class] {
  check(
    classes.some((one) => isOfClass[one](value)),
    'ERR_INVALID_ARG_TYPE',
    () => `${name} must be a ${classes.join(' or ')}, got ${show(value)}`,
  );
  const array = value as ArrayClasses[Class];
  check(!isSharedArrayBuffer(array.buffer), 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must not lie in a SharedArrayBuffer (${array.byteLength} bytes): another thread could change it`;
  });
  check(
    !isDetached(array),
    'ERR_DETACHED',
    () => `the buffer of ${name} is detached: it was transferred elsewhere`,
  );
}

/** Throws unless `value` is a Uint8Array that {@link checkArray} accepts. */
export function checkBytes(value: unknown, name: string): asserts value is Uint8Array {
  checkArray(value, name, ['Uint8Array']);
}

/**
 * Returns a plain Uint8Array over the same memory. `slice` of a Buffer does not copy; that of a Uint8Array
 * does.
 */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
