// Tests for errors, arrays and signals of any realm. Test runners (Jest, Vitest's vmThreads) load this package into a
// realm of its own, where those that Node makes are of other classes and `instanceof` says no.
import { types } from 'node:util';

/** An Error of any realm. */
export function isError(value: unknown): value is Error {
  return types.isNativeError(value) || value instanceof Error;
}

/** The `code` of an error of the system or of Node, where it has one. */
export function errorCode(error: unknown): string | undefined {
  return isError(error) && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

export const { isUint8Array, isFloat32Array, isSharedArrayBuffer, isPromise } = types;

/** An AbortSignal of any realm. */
export function isAbortSignal(value: unknown): value is AbortSignal {
  if (typeof value !== 'object' || value === null) return false;
  const { aborted, addEventListener } = value as Partial<AbortSignal>;
  const name = Object.prototype.toString.call(value);
  return (
    name === '[object AbortSignal]' && typeof aborted === 'boolean' && typeof addEventListener === 'function'
  );
}
