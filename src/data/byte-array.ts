// Checks on byte arrays and integers that come from outside: class, detachment, shared memory, range.
import { check } from '../errors.js';

/** A short description of any value for an error message; never throws and never prints more than 60 characters. */
export function describeValue(value: unknown): string {
  if (value === null || value === undefined || typeof value === 'boolean') return String(value);
  if (typeof value === 'number') return `number ${Object.is(value, -0) ? '-0' : String(value)}`;
  if (typeof value === 'bigint') return `bigint ${String(value).slice(0, 40)}`;
  if (typeof value === 'string') {
    return `string ${JSON.stringify(value.length > 50 ? `${value.slice(0, 50)}…` : value)}`;
  }
  if (typeof value === 'object') return `object ${Object.prototype.toString.call(value).slice(8, -1)}`;
  return `a ${typeof value}`;
}

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
 * Errors: ERR_INVALID_ARG_TYPE (other class, SharedArrayBuffer), ERR_DETACHED.
 */
export function checkBytes(value: unknown, name: string): asserts value is Uint8Array {
  check(value instanceof Uint8Array, 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must be a Uint8Array, got ${describeValue(value)}`;
  });
  check(!(value.buffer instanceof SharedArrayBuffer), 'ERR_INVALID_ARG_TYPE', () => {
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
 * Errors: ERR_INVALID_ARG_TYPE (not a number), ERR_OUT_OF_RANGE.
 */
export function checkInteger(value: unknown, name: string, minimum: number, maximum: number): number {
  check(typeof value === 'number', 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must be an integer, got ${describeValue(value)}`;
  });
  check(Number.isInteger(value) && value >= minimum && value <= maximum, 'ERR_OUT_OF_RANGE', () => {
    return `${name} must be an integer in [${minimum}, ${maximum}], got ${describeValue(value)}`;
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
