// Parses the options of every public function with strict zod schemas.
import { z } from 'zod';
import { PixelCnnError } from './errors.js';
import { isAbortSignal } from './realm.js';
import { show } from './show.js';
import { didYouMean } from './suggestion.js';

export { z };

/** Accepts a function that is called with events. */
export const eventOption = <Event>() =>
  z.custom<(event: Event) => void>((value) => typeof value === 'function', 'expected a function').optional();

export const signalOption = z.custom<AbortSignal>(isAbortSignal, 'expected an AbortSignal');

/** Accepts a seed: a safe integer >= 0 or a bigint in [0, 2^64). */
export const seedOption = z.union([
  z.int().min(0),
  z
    .bigint()
    .min(0n)
    .max(2n ** 64n - 1n),
]);

/**
 * Parses `options` with `schema`. Each option is read only once, so that a getter cannot give another value
 * after the check. An error names the function (`caller`), the option and its value; for an unknown option it
 * suggests the nearest known one.
 */
export function parseOptions<S extends z.ZodObject>(
  caller: string,
  schema: S,
  options: unknown,
): z.output<S> {
  let result: z.ZodSafeParseResult<z.output<S>>;
  try {
    result = schema.safeParse(options);
  } catch (cause) {
    throw new PixelCnnError(
      'ERR_INVALID_ARG_VALUE',
      `${caller}: reading the options threw ${String(cause)}`,
      { cause },
    );
  }
  if (result.success) return result.data;
  const issue = innermost(result.error.issues[0]!);
  const name = issue.path.length > 0 ? issue.path.join('.') : 'options';
  // For unknown keys of an object inside the options, the schema of that object has written the message
  // already.
  if (issue.code === 'unrecognized_keys' && issue.path.length === 0) {
    const key = issue.keys[0] ?? '';
    const hint = didYouMean(key, Object.keys(schema.shape));
    throw new PixelCnnError('ERR_INVALID_ARG_VALUE', `${caller}: unknown option '${key}'${hint}`);
  }
  throw new PixelCnnError(
    codeOf(issue),
    `${caller}: ${name}: ${issue.message}, got ${show(valueAt(options, issue.path))}`,
  );
}

/**
 * Finds the issue to report when no member of a union fits. It is that of a member whose type fits, for example of
 * a number that is out of range, or else that of the first member.
 */
function innermost(issue: z.core.$ZodIssue): z.core.$ZodIssue {
  if (issue.code !== 'invalid_union') return issue;
  const members = issue.errors.flat();
  const fitting = members.find((member) => codeOf(member) !== 'ERR_INVALID_ARG_TYPE') ?? members[0];
  return fitting === undefined ? issue : { ...fitting, path: [...issue.path, ...fitting.path] };
}

function codeOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type')
    return issue.expected === 'int' ? 'ERR_OUT_OF_RANGE' : 'ERR_INVALID_ARG_TYPE';
  if (issue.code === 'too_big' || issue.code === 'too_small' || issue.code === 'not_multiple_of') {
    return 'ERR_OUT_OF_RANGE';
  }
  return 'ERR_INVALID_ARG_VALUE';
}

/** Returns the value that `path` leads to, or undefined if reading it throws. */
function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  try {
    return path.reduce<unknown>(
      // Some options may be given as a text instead of an object. The path of an issue leads into the object, but a
      // text has no such fields, so the whole text is returned.
      (inner, key) =>
        typeof inner === 'string' ? inner : (inner as Record<PropertyKey, unknown> | undefined)?.[key],
      value,
    );
  } catch {
    return undefined;
  }
}
