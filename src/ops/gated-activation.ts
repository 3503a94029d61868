// Records the gate of the Gated PixelCNN and its gradient.
//
//   y[n,i,j,c] = tanh(a[n,i,j,2c]) * sigmoid(a[n,i,j,2c+1]), a = x + condition
//
// Van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders", equations 2 and 4, with the two halves
// of a gate as neighbouring channels.
import { check } from '../errors.js';
import type { GradientSums } from '../program/recorded-op.js';
import type { Recorder } from '../program/recorder.js';
import { shapeText, type Tensor } from '../program/tensor.js';
import { addConditionGradient, conditionPerPixel } from './add-condition.js';

/**
 * Records the gate: (N, H, W, 2C) to (N, H, W, C). Channel c of y belongs to group floor(c * channelGroups / C), and so do
 * both halves of its gate: the filter that computes x has `pairs` (window.ts). The condition, if there is one, has a row for
 * each image, (N, 1, 1, 2C), or for each pixel, (N, H, W, 2C).
 * @throws PixelCnnError ERR_SHAPE for an odd number of channels or a condition of another shape; ERR_CAUSALITY for groups
 * that are not those of the image, and for a condition that has seen it.
 */
export function gatedActivation(
  r: Recorder,
  label: string,
  x: Tensor,
  channelGroups: number,
  condition: Tensor | null = null,
): Tensor {
  const channels = x.shape[3] ?? 0;
  check(channels > 0 && channels % 2 === 0, 'ERR_SHAPE', () => {
    return `${label}: x must have an even number of channels, got ${shapeText(x.shape)}`;
  });
  const images = r.imagesOf(x);
  const c = channels / 2;
  const perPixel = condition === null ? 0 : conditionPerPixel(r, label, condition, images, channels);
  const sees = r.sights.of(x);
  r.sights.checkGroups(label, sees, channelGroups);
  const fields = { ...images, c, perPixel, precision: r.precisionNumber, x, condition };
  return r.pixelwise({ name: `${label} y`, images, channels: c, sees }, (y, region, position) => ({
    op: 'gatedActivation',
    label,
    fields: { ...fields, channelGroups, ...region, position, y },
    result: y,
    backward: (gradients) => recordBackward(r, gradients, label, { x, condition, y }),
  }));
}

/** Records the gradients of x and of the condition: the gradient rule of the gate. */
function recordBackward(
  r: Recorder,
  gradients: GradientSums,
  label: string,
  { x, condition, y }: { x: Tensor; condition: Tensor | null; y: Tensor },
): void {
  const gradY = gradients.of(y);
  if (gradY === undefined) return;
  // This is the gradient of a sum, so its two terms share it.
  const gradSum = gatedActivationBackward(r, `${label} gradient`, { x, condition, gradY });
  gradients.share(x, gradSum);
  if (condition !== null) addConditionGradient(r, gradients, label, condition, gradSum);
}

/** Records the gradient of x + condition (N, H, W, 2C) from x, condition and gradY (N, H, W, C). */
export function gatedActivationBackward(
  r: Recorder,
  label: string,
  operands: { x: Tensor; condition: Tensor | null; gradY: Tensor },
): Tensor {
  const { x, condition, gradY } = operands;
  const [n, h, w, c] = gradY.shape as [number, number, number, number];
  const perPixel = condition === null ? 0 : conditionPerPixel(r, label, condition, { n, h, w }, 2 * c);
  const gradX = r.activation(`${label} gradX`, x.shape);
  r.emit({
    op: 'gatedActivationBackward',
    label,
    fields: { n, h, w, c, perPixel, precision: r.precisionNumber, x, condition, gradY, gradX },
    result: gradX,
  });
  return gradX;
}
