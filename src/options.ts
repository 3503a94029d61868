// The one way to read options: a strict zod schema, whose failure is a PixelCnnError that names the option.
import { z } from 'zod';
import { PixelCnnError } from './errors.js';
import { isAbortSignal } from './realm.js';

export { z };

/** An AbortSignal. */
export const signalOption = z.custom<AbortSignal>(isAbortSignal, 'expected an AbortSignal');

/** A seed: a safe integer >= 0 or a bigint in [0, 2^64). */
export const seedOption = z.union([
  z.int().min(0),
  z
    .bigint()
    .min(0n)
    .max(2n ** 64n - 1n),
]);

/**
 * Parses `options` with `schema`, reading every option once.
 * @throws PixelCnnError ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE or ERR_OUT_OF_RANGE, naming the function, the
 * option and what was got; unknown options come with a suggestion.
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
  // An object inside the options knows its own keys: its schema words the message.
  if (issue.code === 'unrecognized_keys' && issue.path.length === 0) {
    const key = issue.keys[0] ?? '';
    const suggestion = nearest(key, Object.keys(schema.shape));
    throw new PixelCnnError(
      'ERR_INVALID_ARG_VALUE',
      `${caller}: unknown option '${key}'${suggestion === undefined ? '' : `, did you mean '${suggestion}'?`}`,
    );
  }
  throw new PixelCnnError(
    codeOf(issue),
    `${caller}: ${name}: ${issue.message}, got ${show(at(options, issue.path))}`,
  );
}

/** Of a failed union the issue of the member whose type fitted, e.g. a number out of range, else of its first. */
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

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  try {
    return path.reduce<unknown>(
      // A text that stands for an object is shown whole.
      (inner, key) =>
        typeof inner === 'string' ? inner : (inner as Record<PropertyKey, unknown> | undefined)?.[key],
      value,
    );
  } catch {
    return undefined;
  }
}

/** A short text for any value, for error messages; never throws. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    // A text of the caller's must not control a terminal.
    return `'${JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value).slice(1, -1)}'`;
  }
  if (typeof value === 'bigint') return `${String(value).slice(0, 40)}n`;
  if (typeof value === 'object' && value !== null) return showObject(value);
  if (typeof value === 'function') return 'a function';
  return String(value);
}

/** A class or a getter of the caller's may throw. */
function showObject(value: object): string {
  try {
    if (ArrayBuffer.isView(value)) return `${value.constructor.name}(${value.byteLength} bytes)`;
    if (Array.isArray(value)) {
      const items = () => value.map((item) => (Array.isArray(item) ? 'an array' : show(item)));
      return value.length > 8 ? `an array of ${value.length}` : `[${items().join(', ')}]`;
    }
    const name = Object.prototype.toString.call(value).slice(8, -1);
    return name === 'Object' ? 'an object' : `an object (${name})`;
  } catch {
    return 'an object';
  }
}

/** The candidate nearest to `word` by edit distance, if one is near. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < least) {
      least = distance;
      best = candidate;
    }
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const substitution = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, substitution));
    }
    row = next;
  }
  return row[b.length]!;
}
