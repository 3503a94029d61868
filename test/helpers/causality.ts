// Defines the order of values in an image, and checks what each output of a function of images depends on.
import { type ConvSizes, convBackward, type SquareShape } from '../oracle/masked-conv2d.js';

/** Images of h x w pixels with `channels` values each; value p is (pixel, channel) number p in raster order. */
export interface ImageOrder {
  readonly h: number;
  readonly w: number;
  readonly channels: number;
}

export interface Leak {
  /** The value that was changed. */
  readonly changed: number;
  /** The value, at or before it, whose outputs moved. */
  readonly seenAt: number;
  readonly by: number;
}

/** How many values an image has. */
export const valuesOf = ({ h, w, channels }: ImageOrder) => h * w * channels;

/**
 * Runs over outputs (1 + values, h, w, channels, perValue): image 0 as it was, image 1 + p with value p changed.
 * Returns every pair where outputs of a value at or before p differ in any bit, and for each p what moved after it.
 */
export function findLeaks(
  order: ImageOrder,
  outputs: Float32Array,
  perValue: number,
): { leaks: Leak[]; dependents: Set<number>[] } {
  const values = valuesOf(order);
  const perImage = values * perValue;
  if (outputs.length !== (1 + values) * perImage) throw new Error('outputs do not match the image order');
  const bits = new Uint32Array(outputs.buffer, outputs.byteOffset, outputs.length);
  const leaks: Leak[] = [];
  const dependents: Set<number>[] = [];
  for (let p = 0; p < values; p += 1) {
    const moved = new Set<number>();
    for (let q = 0; q < values; q += 1) {
      let by = -1;
      for (let i = q * perValue; i < (q + 1) * perValue; i += 1) {
        if (bits[i] === bits[(1 + p) * perImage + i]) continue;
        by = Math.max(by, Math.abs(outputs[i]! - outputs[(1 + p) * perImage + i]!) || 0);
      }
      if (by >= 0 && q <= p) leaks.push({ changed: p, seenAt: q, by });
      if (by >= 0 && q > p) moved.add(q);
    }
    dependents.push(moved);
  }
  return { leaks, dependents };
}

/** A batch for {@link findLeaks}: `image` and, for every value p, a copy in which `change` has replaced it. */
export function withEachChanged<T extends Uint8Array | Float32Array>(
  image: T,
  change: (value: number) => number,
): T {
  const count = image.length;
  const batch = (image instanceof Uint8Array
    ? new Uint8Array((1 + count) * count)
    : new Float32Array((1 + count) * count)) as unknown as T;
  for (let copy = 0; copy <= count; copy += 1) {
    batch.set(image, copy * count);
    if (copy > 0) batch[copy * count + copy - 1] = change(image[copy - 1]!);
  }
  return batch;
}

/**
 * For every value q the values it can depend on at all, by the masks alone: which inputs get a gradient from its
 * outputs through layers whose live weights are all 1.
 */
export function receptiveFields(
  order: ImageOrder,
  hidden: number,
  layers: number,
  size: number,
): Set<number>[] {
  const { h, w, channels } = order;
  const values = valuesOf(order);
  const base = { n: values, h, w, groups: channels };
  const shapes = Array.from({ length: layers }, (_, layer): ConvSizes & SquareShape => {
    const last = layer === layers - 1;
    return {
      ...base,
      c: layer === 0 ? channels : hidden,
      k: last ? channels : hidden,
      size: last ? 1 : size,
      mask: layer === 0 ? 'A' : 'B',
    };
  });
  let gradient: Float64Array = new Float64Array(values * values);
  for (let q = 0; q < values; q += 1) gradient[q * values + q] = 1;
  for (const shape of shapes.reverse()) {
    const x = new Float64Array(values * h * w * shape.c);
    const weight = new Float64Array(shape.k * shape.c * shape.size ** 2).fill(1);
    gradient = convBackward(shape, x, weight, gradient).gradInput.map((value) => (value > 0 ? 1 : 0));
  }
  return Array.from({ length: values }, (_, q) => {
    const row = gradient.subarray(q * values, (q + 1) * values);
    return new Set(Array.from(row.keys()).filter((p) => row[p]! > 0));
  });
}
