// Records the gate of the Gated PixelCNN and its gradient.
//
//   y[n,i,j,c] = tanh(x[n,i,j,2c]) * sigmoid(x[n,i,j,2c+1])
//
// Van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders", equation 2, with the two halves of a
// gate as neighbouring channels.
import { check } from '../errors.js';
import type { GradientSums } from '../program/recorded-op.js';
import type { Recorder } from '../program/recorder.js';
import { elements, shapeText, type Tensor } from '../program/tensor.js';
import { accumulate } from './accumulate.js';

/**
 * Records the gate: (N, H, W, 2C) to (N, H, W, C). Channel c of y belongs to group floor(c * channelGroups / C), and so do
 * both halves of its gate: the filter that computes x has `pairs` (window.ts).
 * @throws PixelCnnError ERR_SHAPE for an odd number of channels; ERR_CAUSALITY for groups that are not those of the image.
 */
export function gatedActivation(r: Recorder, label: string, x: Tensor, channelGroups: number): Tensor {
  const channels = x.shape[3] ?? 0;
  check(channels > 0 && channels % 2 === 0, 'ERR_SHAPE', () => {
    return `${label}: x must have an even number of channels, got ${shapeText(x.shape)}`;
  });
  const images = r.imagesOf(x);
  const c = channels / 2;
  const sees = r.sights.of(x);
  r.sights.checkGroups(label, sees, channelGroups);
  return r.pixelwise({ name: `${label} y`, images, channels: c, sees }, (y, region, position) => ({
    op: 'gatedActivation',
    label,
    fields: { ...images, c, channelGroups, precision: r.precisionNumber, ...region, x, position, y },
    result: y,
    backward: (gradients) => recordBackward(r, gradients, label, x, y),
  }));
}

/** Records the gradient of x: the gradient rule of the gate. */
function recordBackward(r: Recorder, gradients: GradientSums, label: string, x: Tensor, y: Tensor): void {
  const gradY = gradients.of(y);
  if (gradY === undefined) return;
  gradients.add(x, (sum, reluOutput) => {
    const gradX = gatedActivationBackward(r, `${label} gradient`, x, gradY);
    if (sum === null && reluOutput === null) return gradX;
    return accumulate(r, `${label} gradient sum`, gradX, sum, reluOutput);
  });
}

/** Records gradX (N, H, W, 2C) from x and gradY (N, H, W, C). */
export function gatedActivationBackward(r: Recorder, label: string, x: Tensor, gradY: Tensor): Tensor {
  const gradX = r.activation(`${label} gradX`, x.shape);
  r.emit({
    op: 'gatedActivationBackward',
    label,
    fields: { count: elements(gradY.shape), precision: r.precisionNumber, x, gradY, gradX },
    result: gradX,
  });
  return gradX;
}
