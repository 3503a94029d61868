// Says which pixels are on the sampler's wavefront at each of its positions: those (i, j) with j + slope * i = t.

/** The wavefront of a network: at position t the pixels (i, j) with j + slope * i = t are drawn together. */
export interface Front {
  /** The width of the border, in pixels: as far as any filter reaches. */
  readonly pad: number;
  /** How many pixels a row is ahead of the next one, so that filters read only pixels that are drawn. */
  readonly slope: number;
}

/** Returns the number of positions until every pixel is drawn: W + slope * (H - 1). */
export function frontSteps(front: Front, h: number, w: number): number {
  return w + front.slope * (h - 1);
}

/** Returns how many rows of an image have a pixel on the front at position `t`. Each has at most one. */
export function frontRows({ slope }: Front, h: number, w: number, t: number): number {
  const first = Math.max(0, Math.floor((t - w) / slope) + 1);
  const last = Math.min(h - 1, Math.floor(t / slope));
  return Math.max(0, last + 1 - first);
}

/**
 * Returns the shape of the sampler's activations: `pad` rows of zeros above the image and `pad` columns at both sides.
 * There is no border below, because masked filters read nothing there.
 */
export function paddedShape(front: Front, n: number, h: number, w: number, channels: number): number[] {
  return [n, front.pad + h, front.pad + w + front.pad, channels];
}
