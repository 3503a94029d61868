// Parses the JSON of safetensors headers strictly and within limits.
//
// JSON.parse rounds large integers, silently accepts duplicate keys, and would build a tree of any size. The
// objects in the metadata of model files are parsed by the same rules.
import { check, PixelCnnError } from '../errors.js';

export type HeaderValue =
  | { kind: 'string'; value: string }
  /** A number that is written without fraction and exponent. */
  | { kind: 'integer'; value: bigint }
  /** Any other number, `true`, `false` or `null`: valid JSON that no field of a header takes. */
  | { kind: 'other'; text: string }
  | { kind: 'array'; items: HeaderValue[] }
  | { kind: 'object'; fields: Map<string, HeaderValue> };

const MAXIMUM_DEPTH = 4;
const MAXIMUM_ITEMS = 8; // rank of a tensor
const MAXIMUM_VALUES = 2 ** 20;
const MAXIMUM_FIELDS = 65_536 + 1; // the tensors and __metadata__
const MAXIMUM_DIGITS = 40;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const ESCAPES = new Map(
  Object.entries({ '"': '"', '\\': '\\', '/': '/', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' }),
);

const LITERALS = new Map([
  ['true', true],
  ['false', false],
  ['null', null],
]);

/** Matches the characters of a string up to its end or the next escape. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: the pattern excludes them
const PLAIN = /[^"\\\u0000-\u001f]*/y;

/** Called for each key of the outermost object and its value as soon as they were read. */
export type FieldReader = (key: string, value: HeaderValue) => void;

class HeaderParser {
  readonly text: string;
  readonly where: string;
  #at = 0;
  #depth = 0;
  #values = 0;
  readonly #maximumItems: number;

  constructor(text: string, where: string, maximumItems: number) {
    this.text = text;
    this.where = where;
    this.#maximumItems = maximumItems;
  }

  /** Parses an object that must take the whole text, and passes its fields to `read` one by one. */
  parse(read: FieldReader): void {
    if (this.#take('{')) {
      this.#depth = 1;
      this.#fields(read);
    } else {
      const { kind } = this.#value();
      throw new PixelCnnError('CKPT_SCHEMA', `expected a JSON object, got a JSON ${kind}${this.where}`);
    }
    this.#skipSpace();
    if (this.#at < this.text.length) this.#fail('text after the end of the header');
  }

  #fail(problem: string): never {
    const found = this.text.slice(this.#at, this.#at + 10);
    const got = found === '' ? 'the end of the header' : JSON.stringify(found);
    throw new PixelCnnError('CKPT_HEADER_JSON', `${problem}: got ${got} at ${this.#at}${this.where}`);
  }

  #checkLimit(actual: number, limit: number, unit: string): void {
    check(
      actual <= limit,
      'CKPT_LIMIT',
      () => `header has more than ${limit} ${unit} at ${this.#at}${this.where}`,
    );
  }

  #skipSpace(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      ++this.#at;
    }
  }

  /** Skips space, and then `character` if it comes next. Returns whether it did. */
  #take(character: string): boolean {
    this.#skipSpace();
    if (this.text[this.#at] !== character) return false;
    ++this.#at;
    return true;
  }

  #value(): HeaderValue {
    this.#checkLimit(++this.#values, MAXIMUM_VALUES, 'values');
    if (this.#take('{')) return this.#nested(() => this.#object());
    if (this.#take('[')) return this.#nested(() => this.#array());
    if (this.#take('"')) return { kind: 'string', value: this.#string() };
    return this.#literal();
  }

  #nested(parse: () => HeaderValue): HeaderValue {
    this.#checkLimit(++this.#depth, MAXIMUM_DEPTH, 'levels of nesting');
    const value = parse();
    --this.#depth;
    return value;
  }

  #object(): HeaderValue {
    const fields = new Map<string, HeaderValue>();
    this.#fields((key, value) => fields.set(key, value));
    return { kind: 'object', fields };
  }

  /** Parses the rest of an object after its opening brace. */
  #fields(read: FieldReader): void {
    if (this.#take('}')) return;
    const keys = new Set<string>();
    do {
      if (!this.#take('"')) this.#fail('expected a key in double quotes');
      const key = this.#string();
      check(!keys.has(key), 'CKPT_DUPLICATE_KEY', () => {
        return `key ${JSON.stringify(key.slice(0, 80))} appears twice in the header${this.where}`;
      });
      keys.add(key);
      this.#checkLimit(keys.size, MAXIMUM_FIELDS, 'keys in one object');
      if (!this.#take(':')) this.#fail('expected ":" after a key');
      read(key, this.#value());
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail('expected "," or "}"');
  }

  #array(): HeaderValue {
    const items: HeaderValue[] = [];
    if (this.#take(']')) return { kind: 'array', items };
    do {
      items.push(this.#value());
      this.#checkLimit(items.length, this.#maximumItems, 'items in one array');
    } while (this.#take(','));
    if (!this.#take(']')) this.#fail('expected "," or "]"');
    return { kind: 'array', items };
  }

  #literal(): HeaderValue {
    NUMBER.lastIndex = this.#at;
    const number = NUMBER.exec(this.text);
    if (number) {
      const text = number[0];
      this.#at += text.length;
      // The reference reader takes -0 for a float, too.
      if (number[1] !== undefined || number[2] !== undefined || text === '-0') return { kind: 'other', text };
      // A number of 40 digits exceeds every 64-bit integer already and is refused later. Converting millions
      // of digits to a BigInt would take very long.
      return { kind: 'integer', value: BigInt(text.slice(0, MAXIMUM_DIGITS)) };
    }
    for (const text of LITERALS.keys()) {
      if (!this.text.startsWith(text, this.#at)) continue;
      this.#at += text.length;
      return { kind: 'other', text };
    }
    return this.#fail('expected a value');
  }

  /** Parses the rest of a string after its opening quote. */
  #string(): string {
    let value = '';
    for (;;) {
      PLAIN.lastIndex = this.#at;
      const plain = PLAIN.exec(this.text)![0];
      this.#at += plain.length;
      value += plain;
      const character = this.text.charAt(this.#at);
      if (character === '"') {
        ++this.#at;
        // A lone surrogate can only come from an escape, because valid UTF-8 contains none.
        check(!/\p{Surrogate}/u.test(value), 'CKPT_HEADER_UTF8', () => {
          return `lone surrogate in the string that ends at ${this.#at}${this.where}`;
        });
        return value;
      }
      if (character !== '\\') this.#fail('unfinished string or control character in it');
      value += this.#escape();
    }
  }

  #escape(): string {
    const character = this.text.charAt(this.#at + 1);
    const simple = ESCAPES.get(character);
    if (simple !== undefined) {
      this.#at += 2;
      return simple;
    }
    const digits = this.text.slice(this.#at + 2, this.#at + 6);
    if (character !== 'u' || !/^[0-9a-fA-F]{4}$/.test(digits)) this.#fail('unknown escape');
    this.#at += 6;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }
}

/** Counts the objects in a JSON text by their opening braces, without those in strings. */
function countObjects(text: string): number {
  let count = 0;
  let inString = false;
  for (let i = 0; i < text.length; ++i) {
    const code = text.charCodeAt(i);
    if (code === 0x5c) ++i;
    else if (code === 0x22) inString = !inString;
    else if (code === 0x7b && !inString) ++count;
  }
  return count;
}

/**
 * Parses the bytes of a safetensors header, which is a JSON object, and passes its fields to `read` one by
 * one, so that a long header is never in memory as a tree. `where` is appended to messages.
 * @throws PixelCnnError CKPT_LIMIT for more than 4 levels of nesting, 8 items in an array, 65,537 keys in an
 * object, 65,538 objects or 2^20 values.
 */
export function parseHeaderJson(bytes: Uint8Array, where: string, read: FieldReader): void {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new PixelCnnError('CKPT_HEADER_UTF8', `the header of ${bytes.length} bytes is not UTF-8${where}`, {
      cause,
    });
  }
  // Counting is much faster than parsing, so a header of too many objects is rejected before it is parsed.
  check(countObjects(text) <= MAXIMUM_FIELDS + 1, 'CKPT_LIMIT', () => {
    return `header has more than ${MAXIMUM_FIELDS} tensors and metadata${where}`;
  });
  new HeaderParser(text, where, MAXIMUM_ITEMS).parse(read);
}

/**
 * Parses a JSON object in the metadata by the same rules, into plain JavaScript values. Its arrays may be longer, because
 * a model has a name for each of its classes.
 */
export function parseJsonObject(text: string, where: string): Record<string, unknown> {
  const fields = new Map<string, unknown>();
  new HeaderParser(text, where, MAXIMUM_VALUES).parse((key, value) => fields.set(key, plainValue(value)));
  return Object.fromEntries(fields); // makes even `__proto__` an own property
}

function plainValue(value: HeaderValue): unknown {
  switch (value.kind) {
    case 'object':
      return Object.fromEntries([...value.fields].map(([key, field]) => [key, plainValue(field)]));
    case 'array':
      return value.items.map(plainValue);
    case 'other':
      return LITERALS.has(value.text) ? LITERALS.get(value.text) : Number(value.text);
    case 'integer':
      return Number(value.value);
    case 'string':
      return value.value;
  }
}
