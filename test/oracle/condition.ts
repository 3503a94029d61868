// Adds conditions to activations in float64, and adds up activations over the pixels of an image.

/**
 * Returns x + condition for n images, or x without a condition. The condition has as many values as x, or a row for each
 * image, which is added to all of its pixels.
 */
export function plusCondition(
  x: ArrayLike<number>,
  condition: ArrayLike<number> | undefined,
  n: number,
): Float64Array {
  if (condition === undefined) return Float64Array.from(x);
  const [perImage, channels] = [x.length / n, condition.length / n];
  const added = (i: number) =>
    condition.length === x.length ? i : Math.floor(i / perImage) * channels + (i % channels);
  return Float64Array.from(x, (value, i) => value + condition[added(i)]!);
}

/** The sums of x (n, pixels, channels) over the pixels: (n, channels). */
export function sumOverPixels(x: ArrayLike<number>, n: number, channels: number): Float64Array {
  const sums = new Float64Array(n * channels);
  const perImage = x.length / n;
  for (let i = 0; i < x.length; i += 1) sums[Math.floor(i / perImage) * channels + (i % channels)]! += x[i]!;
  return sums;
}

/** The rows of a table (rows, size) at `index`, where one beyond the table takes the last. */
export function rowsAt(table: ArrayLike<number>, index: ArrayLike<number>, size: number): Float64Array {
  const last = table.length / size - 1;
  return Float64Array.from(
    { length: index.length * size },
    (_, i) => table[Math.min(index[Math.floor(i / size)]!, last) * size + (i % size)]!,
  );
}
