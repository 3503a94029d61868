// Recognises errors, arrays and signals that come from another JavaScript realm.
//
// Test runners such as Jest and Vitest (vmThreads) load this package into a separate realm. An Error or
// Uint8Array that Node creates then belongs to another class than the one of the same name here, and
// `instanceof` returns false.
import { types } from 'node:util';

/** Whether `value` is an Error of any realm. */
export function isError(value: unknown): value is Error {
  return types.isNativeError(value) || value instanceof Error;
}

/**
 * Returns the `code` of an error of the system or of Node, for example `ENOENT`, or undefined if it has none.
 */
export function errorCode(error: unknown): string | undefined {
  return isError(error) && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

export const { isUint8Array, isUint16Array, isFloat32Array, isSharedArrayBuffer, isPromise } = types;

/** Whether `value` is an AbortSignal of any realm. */
export function isAbortSignal(value: unknown): value is AbortSignal {
  if (typeof value !== 'object' || value === null) return false;
  const { aborted, addEventListener } = value as Partial<AbortSignal>;
  const name = Object.prototype.toString.call(value);
  return (
    name === '[object AbortSignal]' && typeof aborted === 'boolean' && typeof addEventListener === 'function'
  );
}
