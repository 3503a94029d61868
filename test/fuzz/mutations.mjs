// Makes random changes of bytes and texts of any format, which depend only on a seed.

/** A generator of random numbers (sfc32) that gives the same ones for a seed on every machine. */
export class Random {
  #a;
  #b = 0x9e3779b9;
  #c = 0xdeadbeef;
  #counter = 1;

  constructor(seed) {
    this.#a = seed >>> 0;
    for (let i = 0; i < 16; i += 1) this.word();
  }

  word() {
    const result = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + result) | 0;
    return result >>> 0;
  }

  /** Returns an integer in [0, limit). */
  below(limit) {
    return this.word() % limit;
  }

  /** Returns true with probability 1 / n. */
  oneIn(n) {
    return this.word() % n === 0;
  }

  pick(items) {
    return items[this.word() % items.length];
  }
}

const integers = [0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 127, 128, 255, 256, 257, 32_767, 65_535, 65_536];
const edges = [2 ** 24, 2 ** 27, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];

/**
 * Makes one to four changes in a file. Parts of `other` may be inserted. The result has at most `limit`
 * bytes.
 */
export function mutateBytes(random, bytes, other, limit) {
  let result = bytes;
  for (let changes = 1 + random.below(4); changes > 0; changes -= 1)
    result = mutateOnce(random, result, other);
  return result.subarray(0, limit);
}

function mutateOnce(random, bytes, other) {
  if (bytes.length === 0) return other.slice();
  const at = random.below(bytes.length);
  const length = 1 + random.below(Math.min(bytes.length - at, random.pick([1, 4, 16, 256])));
  const copy = Buffer.from(bytes);
  switch (random.below(10)) {
    case 0:
    case 1:
      copy[at] ^= 1 << random.below(8);
      return copy;
    case 2:
      copy[at] = random.pick([0, 1, 127, 128, 255, random.below(256)]);
      return copy;
    case 3:
      if (at + 4 > copy.length) return copy;
      if (random.oneIn(2)) copy.writeUInt32BE(random.pick([...integers, ...edges]), at);
      else copy.writeUInt32LE(random.pick([...integers, ...edges]), at);
      return copy;
    case 4:
      copy[at] += random.pick([1, 255, 2, 254, 16]);
      return copy;
    case 5: // remove a part
      return Buffer.concat([copy.subarray(0, at), copy.subarray(at + length)]);
    case 6: // repeat a part
      return Buffer.concat([copy.subarray(0, at + length), copy.subarray(at)]);
    case 7: // insert a part of the other file
      return Buffer.concat([copy.subarray(0, at), pieceOf(random, other), copy.subarray(at)]);
    case 8: // overwrite with a part of the other file
      return Buffer.concat([copy.subarray(0, at), pieceOf(random, other), copy.subarray(at + length)]);
    default: // truncate
      return random.oneIn(4) ? copy.subarray(0, at) : copy;
  }
}

function pieceOf(random, bytes) {
  if (bytes.length === 0) return bytes;
  const at = random.below(bytes.length);
  return bytes.subarray(at, at + 1 + random.below(random.pick([4, 16, 64])));
}

const numberTexts = ['0', '-1', '-0', '1.5', '1e3', '2147483648', '9007199254740993', '18446744073709551616'];

/**
 * Makes one to four changes in a text by its tokens: swaps, removes or repeats words, and changes numbers.
 */
export function mutateText(random, text, words) {
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|\s+|./gs) ?? [''];
  for (let changes = 1 + random.below(4); changes > 0; changes -= 1) {
    const at = random.below(tokens.length);
    switch (random.below(6)) {
      case 0:
        tokens.splice(at, 1 + random.below(3));
        break;
      case 1:
        tokens.splice(at, 0, tokens[random.below(tokens.length)] ?? '');
        break;
      case 2:
        tokens[at] = tokens[random.below(tokens.length)] ?? '';
        break;
      case 3:
        tokens[at] = random.pick(words);
        break;
      default: {
        const numbers = tokens.flatMap((token, i) => (/^-?\d/.test(token) ? [i] : []));
        if (numbers.length === 0) break;
        const index = random.pick(numbers);
        tokens[index] = random.oneIn(2)
          ? String(Number(tokens[index]) + random.pick([-4, -1, 1, 4]))
          : random.pick([...integers.map(String), ...numberTexts]);
      }
    }
    if (tokens.length === 0) tokens.push('');
  }
  return tokens.join('');
}
