// Defines commands, whose one schema gives flags, config file and type of the options, and runs them.
import { readFile } from 'node:fs/promises';
import { PixelCnnError } from '../errors.js';
import { parseOptions, type z } from '../options.js';
import { didYouMean } from '../suggestion.js';
import { UsageError } from './failure.js';
import { flagsOf, kebab, parseFlags } from './flags.js';

export interface Command<S extends z.ZodObject = z.ZodObject> {
  readonly name: string;
  readonly summary: string;
  readonly schema: S;
  /** Key of the option that an argument without a flag sets. */
  readonly positional?: string;
  /** The library's keys of options that this command renames, with its own keys: errors of the library are reworded. */
  readonly synonyms?: Readonly<Record<string, string>>;
  /** Headings of the help text and the keys listed under them; the others are listed under "Options". */
  readonly groups?: Readonly<Record<string, readonly string[]>>;
  readonly examples: readonly string[];
  /** Text below the options. */
  readonly notes?: string;
  /** Returns values that flags and config file override, and that override the schema's defaults. */
  base?(given: Readonly<Record<string, unknown>>): Promise<Record<string, unknown>>;
  /** Returns the exit code. */
  run(options: z.output<S>): Promise<number>;
}

/** Reads the arguments and runs the command. Returns its exit code, or undefined if help was asked for. */
export async function runCommand(command: Command, args: readonly string[]): Promise<number | undefined> {
  const flags = flagsOf(command.schema);
  const { values, configFile, help } = parseFlags(command.name, flags, args, command.positional);
  if (help) return undefined;
  const keys = flags.map(({ key }) => key);
  const fromFile = configFile === undefined ? {} : await readConfigFile(command.name, configFile, keys);
  const given = { ...fromFile, ...values };
  const merged = { ...(await command.base?.(given)), ...given };
  const missing = flags.find(({ key, required }) => required && merged[key] === undefined);
  if (missing !== undefined) throw new UsageError(`${command.name} needs --${missing.name}`, command.name);
  return command.run(readOptions(command, merged));
}

/** Checks the options. @throws UsageError that names the flag. */
function readOptions<S extends z.ZodObject>(command: Command<S>, options: unknown): z.output<S> {
  try {
    return parseOptions(command.name, command.schema, options);
  } catch (cause) {
    if (!(cause instanceof PixelCnnError)) throw cause;
    // The library names an option `resize.width:`, which is `--resize width:` here.
    const message = cause.message.replace(/^(\S+: )(\w+)((?:\.\w+)*):/, (_, head, key, rest) => {
      return `${head}--${kebab(key)}${rest.replaceAll('.', ' ')}:`;
    });
    throw new UsageError(message, command.name, { cause });
  }
}

async function readConfigFile(
  caller: string,
  file: string,
  keys: readonly string[],
): Promise<Record<string, unknown>> {
  const text = await readFile(file, 'utf8');
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${caller}: ${file} is not JSON: ${(cause as Error).message}`, caller, { cause });
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config))
    throw new UsageError(`${caller}: ${file} must hold a JSON object`, caller);
  for (const key of Object.keys(config)) {
    if (keys.includes(key)) continue;
    throw new UsageError(`${caller}: unknown key '${key}' in ${file}${didYouMean(key, keys)}`, caller);
  }
  return config as Record<string, unknown>;
}
