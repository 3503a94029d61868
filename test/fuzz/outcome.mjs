// What a reader made of an input: a word for the fuzzer, or an error that is a finding. A target of the fuzzer has
// `seeds` to start from, `mutate`, which keeps a format's frame whole more often than not, and `run`.
import { PixelCnnError } from '../../dist/errors.js';

/** Bytes without meaning, the same every time. */
export const bytesOf = (length, step = 7) => Uint8Array.from({ length }, (_, i) => (i * step) % 251);

/** Runs `read`; a typed error is an outcome, any other error a finding. */
export function outcomeOf(read, verify) {
  let value;
  try {
    value = read();
  } catch (error) {
    if (!(error instanceof PixelCnnError)) throw error;
    // The text without its values tells the checks of one code apart.
    const text = error.message.replace(
      / got .*|"(?:[^"\\]|\\.)*"|'[^']*'|(?:chunk|after|with) \w+|\S*\d\S*/gs,
      '',
    );
    return `${error.code} ${text.slice(0, 40)}`;
  }
  return verify(value);
}

export function require(condition, what) {
  if (!condition) throw new Error(`accepted, but ${what}`);
}

export const product = (shape) => shape.reduce((all, size) => all * size, 1);
