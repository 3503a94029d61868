// Defines PixelCnnError, the one error type of the library, and the functions that create and throw it.
import { errorCode, isError } from './realm.js';
import { show } from './show.js';

/**
 * The class of every error that pixelcnn throws on purpose. `code` is stable and meant for programs,
 * `message` is a sentence with the offending values, and `remedy` says what to do about it, if something can
 * be done.
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

/**
 * Calls `body`, which may allocate large arrays. If such an allocation fails, JavaScript throws a RangeError,
 * which becomes ERR_OUT_OF_MEMORY here.
 */
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
 * Converts an error of a system call to a PixelCnnError whose code is the errno, for example ENOENT, or
 * ERR_IO if there is none. `problem` begins the message, for example `cannot read x.png`. A PixelCnnError is
 * returned unchanged.
 */
export function systemError(problem: string, cause: unknown): PixelCnnError {
  if (cause instanceof PixelCnnError) return cause;
  const message = isError(cause) ? cause.message : String(cause);
  return new PixelCnnError(errorCode(cause) ?? 'ERR_IO', `${problem}: ${message}`, { cause });
}

/**
 * Waits until all promises have settled and returns their values. Unlike Promise.all, no work is still
 * running when it throws. It throws the first failure, but prefers any other error to ERR_DEVICE_LOST,
 * because a lost device is usually a consequence of the other error.
 */
export async function allEnded<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  const results = await Promise.allSettled(promises);
  const failures: unknown[] = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  const isConsequence = (error: unknown) =>
    error instanceof PixelCnnError && error.code === 'ERR_DEVICE_LOST';
  if (failures.length > 0) throw failures.find((error) => !isConsequence(error)) ?? failures[0];
  return results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
}

/** Throws a PixelCnnError with `code` unless `condition` holds. `message` is called only then. */
export function check(condition: boolean, code: string, message: () => string): asserts condition {
  if (!condition) throw new PixelCnnError(code, message());
}

/**
 * Returns `value` if it is an integer in [minimum, maximum], and throws otherwise. `name` begins the message.
 */
export function checkInteger(value: unknown, name: string, minimum: number, maximum: number): number {
  check(typeof value === 'number', 'ERR_INVALID_ARG_TYPE', () => {
    return `${name} must be an integer, got ${show(value)}`;
  });
  check(Number.isInteger(value) && value >= minimum && value <= maximum, 'ERR_OUT_OF_RANGE', () => {
    return `${name} must be an integer in [${minimum}, ${maximum}], got ${show(value)}`;
  });
  return value + 0; // turns -0 into 0
}
