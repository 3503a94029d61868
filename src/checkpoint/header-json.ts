// Strict JSON for safetensors headers and the objects in their metadata: exact integers, no duplicate keys, bounded depth, length and number of values.
import { check, PixelCnnError } from '../errors.js';

export type HeaderValue =
  | { kind: 'string'; value: string }
  /** Written without fraction and exponent; exact. */
  | { kind: 'integer'; value: bigint }
  /** Any other number, `true`, `false` and `null`: legal JSON that no header field takes. */
  | { kind: 'other'; text: string }
  | { kind: 'array'; items: HeaderValue[] }
  | { kind: 'object'; fields: Map<string, HeaderValue> };

const MAXIMUM_DEPTH = 4;
const MAXIMUM_ITEMS = 8; // rank of a tensor
const MAXIMUM_VALUES = 2 ** 20;
const MAXIMUM_FIELDS = 65_536 + 1; // tensors and __metadata__
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

/** True for a character that stands for itself in a string; false for `"`, `\\`, controls and the end (NaN). */
function isPlain(code: number): boolean {
  return code >= 0x20 && code !== 0x22 && code !== 0x5c;
}

class HeaderParser {
  readonly text: string;
  readonly where: string;
  #at = 0;
  #depth = 0;
  #values = 0;

  constructor(text: string, where: string) {
    this.text = text;
    this.where = where;
  }

  parse(): HeaderValue {
    const value = this.#value();
    this.#skipSpace();
    if (this.#at < this.text.length) this.#fail('text after the end of the header');
    return value;
  }

  #fail(problem: string): never {
    const found = this.text.slice(this.#at, this.#at + 10);
    const got = found === '' ? 'the end of the header' : JSON.stringify(found);
    throw new PixelCnnError('CKPT_HEADER_JSON', `${problem}: got ${got} at ${this.#at}${this.where}`);
  }

  #limit(actual: number, limit: number, what: string): void {
    check(
      actual <= limit,
      'CKPT_LIMIT',
      () => `header has more than ${limit} ${what} at ${this.#at}${this.where}`,
    );
  }

  #skipSpace(): void {
    while (this.#at < this.text.length && ' \t\n\r'.includes(this.text.charAt(this.#at))) ++this.#at;
  }

  /** Takes `character` after optional space, or leaves it and returns false. */
  #take(character: string): boolean {
    this.#skipSpace();
    if (this.text.charAt(this.#at) !== character) return false;
    ++this.#at;
    return true;
  }

  #value(): HeaderValue {
    this.#limit(++this.#values, MAXIMUM_VALUES, 'values');
    if (this.#take('{')) return this.#nested(() => this.#object());
    if (this.#take('[')) return this.#nested(() => this.#array());
    if (this.#take('"')) return { kind: 'string', value: this.#string() };
    return this.#literal();
  }

  #nested(parse: () => HeaderValue): HeaderValue {
    this.#limit(++this.#depth, MAXIMUM_DEPTH, 'levels of nesting');
    const value = parse();
    --this.#depth;
    return value;
  }

  #object(): HeaderValue {
    const fields = new Map<string, HeaderValue>();
    if (this.#take('}')) return { kind: 'object', fields };
    do {
      if (!this.#take('"')) this.#fail('expected a key in double quotes');
      const key = this.#string();
      check(!fields.has(key), 'CKPT_DUPLICATE_KEY', () => {
        return `key ${JSON.stringify(key.slice(0, 80))} appears twice in the header${this.where}`;
      });
      if (!this.#take(':')) this.#fail('expected ":" after a key');
      fields.set(key, this.#value());
      this.#limit(fields.size, MAXIMUM_FIELDS, 'keys in one object');
    } while (this.#take(','));
    if (!this.#take('}')) this.#fail('expected "," or "}"');
    return { kind: 'object', fields };
  }

  #array(): HeaderValue {
    const items: HeaderValue[] = [];
    if (this.#take(']')) return { kind: 'array', items };
    do {
      items.push(this.#value());
      this.#limit(items.length, MAXIMUM_ITEMS, 'items in one array');
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
      // -0 is a float to the reference reader, too.
      if (number[1] !== undefined || number[2] !== undefined || text === '-0') return { kind: 'other', text };
      // Beyond every 64-bit integer the value no longer matters, and a million digits must not become a BigInt.
      return { kind: 'integer', value: BigInt(text.slice(0, MAXIMUM_DIGITS)) };
    }
    for (const text of LITERALS.keys()) {
      if (!this.text.startsWith(text, this.#at)) continue;
      this.#at += text.length;
      return { kind: 'other', text };
    }
    return this.#fail('expected a value');
  }

  /** The rest of a string after its opening quote. */
  #string(): string {
    const parts: string[] = [];
    for (;;) {
      const start = this.#at;
      while (isPlain(this.text.charCodeAt(this.#at))) ++this.#at;
      parts.push(this.text.slice(start, this.#at));
      const character = this.text.charAt(this.#at);
      if (character === '"') {
        ++this.#at;
        const value = parts.join('');
        // The header is valid UTF-8, so a lone surrogate can only come from an escape.
        check(!/\p{Surrogate}/u.test(value), 'CKPT_HEADER_UTF8', () => {
          return `lone surrogate in the string that ends at ${this.#at}${this.where}`;
        });
        return value;
      }
      if (character !== '\\') this.#fail('unfinished string or control character in it');
      parts.push(this.#escape());
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

/**
 * Parses the bytes of a safetensors header; `where` is appended to messages.
 * Errors: CKPT_HEADER_UTF8, CKPT_HEADER_JSON, CKPT_DUPLICATE_KEY, CKPT_LIMIT (depth > 4, array > 8 items,
 * object > 65,537 keys, more than 2^20 values).
 */
export function parseHeaderJson(bytes: Uint8Array, where: string): HeaderValue {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new PixelCnnError('CKPT_HEADER_UTF8', `the header of ${bytes.length} bytes is not UTF-8${where}`, {
      cause,
    });
  }
  return new HeaderParser(text, where).parse();
}

/**
 * A JSON object by the same rules as plain values, for the objects that metadata hold as text.
 * Errors: CKPT_HEADER_JSON, CKPT_DUPLICATE_KEY, CKPT_LIMIT, CKPT_SCHEMA (not an object).
 */
export function parseJsonObject(text: string, where: string): Record<string, unknown> {
  const value = new HeaderParser(text, where).parse();
  check(
    value.kind === 'object',
    'CKPT_SCHEMA',
    () => `expected a JSON object, got a JSON ${value.kind}${where}`,
  );
  return plainValue(value) as Record<string, unknown>;
}

function plainValue(value: HeaderValue): unknown {
  switch (value.kind) {
    case 'object':
      // Defines own properties, whatever their names.
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
