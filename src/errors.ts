// The one error type of the library.
import { errorCode, isError } from './realm.js';

/**
 * Every error that pixelcnn throws on purpose. `code` is stable and meant for programs, `message` is a sentence with
 * the offending values, `remedy` says what to do about it where there is something to do.
 */
export class PixelCnnError extends Error {
  readonly code: string;
  readonly remedy?: string;

  constructor(code: string, message: string, options: { remedy?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PixelCnnError';
    this.code = code;
    if (options.remedy !== undefined) this.remedy = options.remedy;
  }
}

/** Calls `body`, which may allocate large arrays: JavaScript's RangeError for those becomes ERR_OUT_OF_MEMORY. */
export async function allocating<R>(caller: string, body: () => Promise<R>): Promise<R> {
  try {
    return await body();
  } catch (cause) {
    const failed = /allocation failed|invalid (typed )?array( buffer)? length/i;
    if (!isError(cause) || cause.name !== 'RangeError' || !failed.test(cause.message)) throw cause;
    const remedy = 'ask for less at a time';
    throw new PixelCnnError('ERR_OUT_OF_MEMORY', `${caller}: ${cause.message}`, { remedy, cause });
  }
}

/**
 * What a call to the system threw as a PixelCnnError with its errno as code, ERR_IO where it has none; `what` says what
 * failed. An error that is a PixelCnnError already stays as it is.
 */
export function systemError(what: string, cause: unknown): PixelCnnError {
  if (cause instanceof PixelCnnError) return cause;
  const message = isError(cause) ? cause.message : String(cause);
  return new PixelCnnError(errorCode(cause) ?? 'ERR_IO', `${what}: ${message}`, { cause });
}

/**
 * The values of all promises, once every one of them has ended. Throws the first failure, but ERR_DEVICE_LOST only if no
 * other failure tells what the device was lost to.
 */
export async function allEnded<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failures: unknown[] = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  const isConsequence = (error: unknown) =>
    error instanceof PixelCnnError && error.code === 'ERR_DEVICE_LOST';
  if (failures.length > 0) throw failures.find((error) => !isConsequence(error)) ?? failures[0];
  return results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}

/** Throws a PixelCnnError with `code` unless `condition` holds; `message` is only built on failure. */
export function check(condition: boolean, code: string, message: () => string): asserts condition {
  if (!condition) throw new PixelCnnError(code, message());
}
