// What a value of the language is, whichever realm made it: test runners (Jest, Vitest's vmThreads) load this package into a realm of its own, where the errors and arrays of Node are of other classes.
import { types } from 'node:util';

/** An Error of any realm; `instanceof` knows those of this one only. */
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
