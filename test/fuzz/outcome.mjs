// Classifies what a reader did with an input: an outcome is a word, and a finding is an error.
//
// A target of the fuzzer has `seeds` to start from, `mutate`, which usually keeps the frame of the format
// valid, and `run`.
import { PixelCnnError } from '../../dist/errors.js';

/** Bytes without meaning that are the same every time. */
export const bytesOf = (length, step = 7) => Uint8Array.from({ length }, (_, i) => (i * step) % 251);

/** Runs `read`. A PixelCnnError is an outcome, and any other error is a finding. */
export function outcomeOf(read, verify) {
  let value;
  try {
    value = read();
  } catch (error) {
    if (!(error instanceof PixelCnnError)) throw error;
    // The message without its values distinguishes checks that throw the same code.
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
