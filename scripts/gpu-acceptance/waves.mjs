// Makes images that a model can learn and any machine can compute: overlapping waves of random frequency and phase.
import { randomWords } from './convolutions.mjs';

/** Makes `count` images as one ImageBatch. */
export function waves(count, height, width, channels, seed) {
  const words = randomWords(seed);
  const data = new Uint8Array(count * height * width * channels);
  for (let image = 0, at = 0; image < count; image += 1) {
    const [a, b, c] = [words() / 2 ** 29, words() / 2 ** 30, words() / 2 ** 30];
    for (let row = 0; row < height; row += 1)
      for (let column = 0; column < width; column += 1)
        for (let channel = 0; channel < channels; channel += 1, at += 1)
          data[at] =
            127 + 120 * Math.sin(a + row * (0.2 + 0.1 * b)) * Math.cos(column * (0.2 + 0.1 * c) + channel);
  }
  return { data, count, height, width, channels };
}
