// Records the sum of activations and a condition, and the gradient of a condition.
//
//   y[n,i,j,c] = x[n,i,j,c] + condition[n,c], or + condition[n,i,j,c], followed by a ReLU if asked for
//
// Van den Oord et al. 2016b, "Conditional Image Generation with PixelCNN Decoders", section 2.3.
import { check } from '../errors.js';
import type { GradientSums } from '../program/recorded-op.js';
import type { Recorder } from '../program/recorder.js';
import type { Images } from '../program/sampler-pass.js';
import { elements, shapeText, type Tensor } from '../program/tensor.js';
import { accumulate } from './accumulate.js';
import { sumPixels } from './sum-pixels.js';

/** What adding a condition does besides the sum. */
export interface AddConditionOptions {
  /** Whether a ReLU follows. Default false. */
  readonly relu?: boolean;
}

/**
 * Records x + condition: (N, H, W, C) to (N, H, W, C). The condition has one row for all pixels of an image, (N, 1, 1, C),
 * or one for each pixel, (N, H, W, C). Channel c of y belongs to group floor(c * channelGroups / C).
 * @throws PixelCnnError ERR_SHAPE; ERR_CAUSALITY for groups that are not those of the image.
 */
export function addCondition(
  r: Recorder,
  label: string,
  x: Tensor,
  condition: Tensor,
  channelGroups: number,
  { relu = false }: AddConditionOptions = {},
): Tensor {
  const images = r.imagesOf(x);
  const c = x.shape[3]!;
  const perPixel = conditionPerPixel(r, label, condition, images, c);
  const sees = r.sights.of(x);
  r.sights.checkGroups(label, sees, channelGroups);
  const precision = r.precisionNumber;
  const fields = { ...images, c, channelGroups, perPixel, relu: relu ? 1 : 0, precision };
  return r.pixelwise({ name: `${label} y`, images, channels: c, sees }, (y, region, position) => ({
    op: 'addCondition',
    label,
    fields: { ...fields, ...region, x, condition, position, y },
    result: y,
    relu,
    backward(gradients) {
      const gradY = gradients.of(y);
      if (gradY === undefined) return;
      gradients.share(x, gradY);
      addConditionGradient(r, gradients, label, condition, gradY);
    },
  }));
}

/**
 * Returns 1 if a condition for activations of these images and `channels` has a row for each pixel, and 0 if it has one for
 * each image.
 * @throws PixelCnnError ERR_SHAPE for any other shape; ERR_CAUSALITY for a condition that has seen the image.
 */
export function conditionPerPixel(
  r: Recorder,
  label: string,
  condition: Tensor,
  { n, h, w }: Images,
  channels: number,
): 0 | 1 {
  const sees = r.sights.of(condition);
  check(sees === 'condition', 'ERR_CAUSALITY', () => `${label}: the condition has seen pixels (${sees})`);
  const shape = shapeText(condition.shape);
  const perImage = shape === shapeText([n, 1, 1, channels]);
  check(perImage || shape === shapeText([n, h, w, channels]), 'ERR_SHAPE', () => {
    const expected = `${shapeText([n, 1, 1, channels])} or ${shapeText([n, h, w, channels])}`;
    return `${label}: the condition must be ${expected}, got ${shape}`;
  });
  return perImage ? 0 : 1;
}

/** Adds to the gradient of a condition, given the gradient of the sum of activations and the condition. */
export function addConditionGradient(
  r: Recorder,
  gradients: GradientSums,
  label: string,
  condition: Tensor,
  gradient: Tensor,
): void {
  if (elements(condition.shape) === elements(gradient.shape)) {
    gradients.share(condition, gradient);
    return;
  }
  gradients.add(condition, (sum, reluOutput) => {
    const own = sumPixels(r, `${label} condition gradient`, gradient);
    if (sum === null && reluOutput === null) return own;
    return accumulate(r, `${label} condition gradient sum`, own, sum, reluOutput);
  });
}
