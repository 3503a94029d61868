// Writes values of any kind into error messages.

/** Describes any value in a short text for an error message. Never throws. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    // JSON escapes control characters, which could otherwise control the terminal that shows the message.
    return `'${JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}…` : value).slice(1, -1)}'`;
  }
  if (typeof value === 'bigint') return `${String(value).slice(0, 40)}n`;
  if (typeof value === 'object' && value !== null) return showObject(value);
  if (typeof value === 'function') return 'a function';
  return String(value);
}

/** Describes an object. Its class or its getters may throw, so everything here is caught. */
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

/**
 * Returns ` in NAME`, to be appended to a message, or an empty text when the name of the file is not known.
 */
export function inFile(file: string | undefined): string {
  return file === undefined ? '' : ` in ${file}`;
}
