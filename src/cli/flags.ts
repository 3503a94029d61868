// Derives the flags of a command from its schema (`batchSize` is `--batch-size N`), and reads their values.
import { parseArgs } from 'node:util';
import { z } from '../options.js';
import { didYouMean } from '../suggestion.js';
import { UsageError } from './failure.js';

export interface Flag {
  /** Name in the schema and in config files. */
  readonly key: string;
  /** Name on the command line, without the dashes. */
  readonly name: string;
  /** The types of JSON Schema that a value may have. */
  readonly types: readonly string[];
  readonly choices: readonly string[] | undefined;
  readonly default: unknown;
  readonly description: string;
  readonly required: boolean;
  /** Whether the flag may be repeated: its values are collected in an array, in their order. */
  readonly repeatable: boolean;
}

interface Property {
  readonly type?: string;
  readonly anyOf?: readonly Property[];
  readonly enum?: readonly string[];
  /** The elements of an array. */
  readonly items?: Property;
  readonly default?: unknown;
  readonly description?: string;
}

/** Whether a flag takes no value. */
export function isSwitch({ types }: Flag): boolean {
  return types.every((type) => type === 'boolean');
}

/**
 * Whether `--no-NAME` sets the flag to false: for switches, and for values that a preset has and the user may
 * drop.
 */
export function isNegatable({ types }: Flag): boolean {
  return types.includes('boolean');
}

/** Returns one flag for each key of the schema. */
export function flagsOf(schema: z.ZodObject): Flag[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' });
  return Object.entries(properties).map(([key, value]) => {
    const property = value as Property;
    // The values of a repeatable flag are read one by one, each as an element of the array.
    const one = property.items ?? property;
    return {
      key,
      name: kebab(key),
      types: (one.anyOf ?? [one]).map(({ type }) => type ?? 'string'),
      choices: one.enum,
      default: property.default,
      description: property.description ?? '',
      required: required.includes(key),
      repeatable: property.items !== undefined,
    };
  });
}

export function kebab(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

export interface ParsedFlags {
  readonly values: Record<string, unknown>;
  readonly configFile: string | undefined;
  readonly help: boolean;
}

/**
 * Reads the arguments of the command `caller`; `positional` is the key that an argument without a flag sets.
 * @throws UsageError for unknown flags (with a suggestion), missing or malformed values and unexpected
 * arguments.
 */
export function parseFlags(
  caller: string,
  flags: readonly Flag[],
  args: readonly string[],
  positional: string | undefined,
): ParsedFlags {
  const byName = new Map(flags.map((flag) => [flag.name, flag]));
  const options = Object.fromEntries(
    flags.map((flag) => [flag.name, { type: isSwitch(flag) ? ('boolean' as const) : ('string' as const) }]),
  );
  const { tokens } = parseArgs({
    args: [...args],
    options: {
      ...options,
      config: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const values: Record<string, unknown> = {};
  let configFile: string | undefined;
  let help = false;
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      if (positional === undefined || values[positional] !== undefined)
        throw new UsageError(`${caller}: unexpected argument '${token.value}'`, caller);
      values[positional] = token.value;
      continue;
    }
    const { name, value } = token;
    if (name === 'help') {
      help = true;
      continue;
    }
    const negated = name.startsWith('no-') ? byName.get(name.slice(3)) : undefined;
    if (negated !== undefined && isNegatable(negated) && value === undefined) {
      values[negated.key] = false;
      continue;
    }
    const flag = byName.get(name);
    if (flag === undefined && name !== 'config') throw unknownFlag(caller, token.rawName, flags);
    if (flag !== undefined && isSwitch(flag)) {
      values[flag.key] = booleanOf(caller, name, value);
      continue;
    }
    // Without this check, `--out --json` would write to a file called --json.
    const missing = value === undefined || (!token.inlineValue && value.startsWith('--'));
    if (missing) throw new UsageError(`${caller}: --${name} needs a value`, caller);
    if (flag === undefined) configFile = value;
    else if (flag.repeatable) {
      const earlier = (values[flag.key] ?? []) as readonly unknown[];
      values[flag.key] = [...earlier, readValue(caller, flag, value)];
    } else values[flag.key] = readValue(caller, flag, value);
  }
  return { values, configFile, help };
}

function booleanOf(caller: string, name: string, value: string | undefined): boolean {
  if (value === undefined || value === 'true') return true;
  if (value === 'false') return false;
  throw new UsageError(`${caller}: --${name} takes no value, or true or false, got '${value}'`, caller);
}

function readValue(caller: string, flag: Flag, text: string): string | number {
  if (flag.choices !== undefined && !flag.choices.includes(text)) {
    const hint = didYouMean(text, flag.choices);
    const choices = flag.choices.join(', ');
    throw new UsageError(`${caller}: --${flag.name} must be one of ${choices}, got '${text}'${hint}`, caller);
  }
  const isText = flag.types.includes('string');
  // Number() would take a size such as 0x8 for a hexadecimal number.
  const number = text.trim() === '' || /^0[xob]/i.test(text) ? Number.NaN : Number(text);
  if (flag.types.some((type) => type === 'number' || type === 'integer')) {
    if (Number.isFinite(number)) return number;
    if (!isText) throw new UsageError(`${caller}: --${flag.name} must be a number, got '${text}'`, caller);
  }
  return text;
}

function unknownFlag(caller: string, rawName: string, flags: readonly Flag[]): UsageError {
  const names = flags.flatMap((flag) => (isNegatable(flag) ? [flag.name, `no-${flag.name}`] : [flag.name]));
  const hint = didYouMean(rawName.replace(/^-+/, ''), [...names, 'config', 'help'], '--');
  return new UsageError(`${caller}: unknown option '${rawName}'${hint}`, caller);
}
