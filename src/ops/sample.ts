// Records the sampler's draw of one image channel at the wavefront, and the advance of the wavefront's position.
import type { Recorder } from '../program/recorder.js';
import type { Region } from '../program/sampler-pass.js';
import type { Tensor } from '../program/tensor.js';
import type { HeadShape } from './softmax-cross-entropy.js';

/** The tensors of a sampler that a draw reads and writes, besides those of the head. */
export interface DrawOperands {
  /** (N, H, W, channels) */
  readonly uniforms: Tensor;
  /** (1) */
  readonly temperature: Tensor;
  /**
   * (1), or null. With it, the network runs on twice as many images: images N to 2N - 1 are images 0 to N - 1 under no
   * condition, and levels are drawn from logits none + guidance * (logits - none) (Ho & Salimans 2022).
   */
  readonly guidance: Tensor | null;
  /** (N, H, W, uint8), non-zero where a pixel keeps its level; null if no pixel does. */
  readonly known: Tensor | null;
  /** (N, H, W, channels, uint8) */
  readonly level: Tensor;
  /** The network's input, with border. */
  readonly image: Tensor;
  /** (N, H, W, channels, levels), or null. */
  readonly logits: Tensor | null;
}

/**
 * Records the draw of the region's channel at its front. A front beyond the image has no pixels, so a program of many fronts
 * may run past the last. The drawn level goes to `level` and, as the network's input, to `image`.
 */
export function sampleFront(
  r: Recorder,
  label: string,
  shape: HeadShape,
  region: Region,
  head: { x: Tensor; packed: Tensor; bias: Tensor; position: Tensor },
  operands: DrawOperands,
): void {
  const { x, packed, bias, position } = head;
  const { uniforms, temperature, guidance, known, level, image, logits } = operands;
  r.emit({
    op: 'sampleFront',
    label,
    fields: {
      ...shape,
      precision: r.precisionNumber,
      ...region,
      x,
      packed,
      bias,
      uniforms,
      temperature,
      guidance,
      position,
      known,
      level,
      image,
      logits,
    },
    result: level,
  });
}

/** Records the advance of the wavefront: position = position + fronts. */
export function nextFront(r: Recorder, label: string, fronts: number, position: Tensor): void {
  r.emit({ op: 'nextFront', label, fields: { fronts, position }, result: position });
}
