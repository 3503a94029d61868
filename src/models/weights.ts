// Chooses which of the two sets of weights that a model may hold a call uses, and refuses sets that it does not hold.
import { check, PixelCnnError } from '../errors.js';
import { z } from '../options.js';
import type { WeightsLock } from './weights-lock.js';

/** The trained weights, or their exponential moving average. */
export type Weights = 'raw' | 'ema';
export const weightSets = ['raw', 'ema'] as const satisfies readonly Weights[];

/** The option by which a call names the weights that it uses. */
export const weightsOption = z
  .enum(weightSets)
  .optional()
  .describe('raw, as trained, or ema, their moving average; default: ema where the model holds both');

/** Returns the sets that a model holds after a training run with this decay of the average. */
export function heldAfterTraining(emaDecay: number): readonly Weights[] {
  return emaDecay > 0 ? weightSets : ['raw'];
}

/**
 * Returns the weights that were asked for or, by default, the average if the model holds it and the raw ones otherwise.
 * @throws PixelCnnError ERR_NO_SUCH_WEIGHTS for weights that the model does not hold.
 */
export function chooseWeights(
  caller: string,
  model: { readonly holds: readonly Weights[] },
  asked: Weights | undefined,
): Weights {
  const { holds } = model;
  if (asked === undefined) return holds.includes('ema') ? 'ema' : 'raw';
  if (holds.includes(asked)) return asked;
  const remedy =
    asked === 'ema'
      ? 'take the model-ema.safetensors or a checkpoint of a run that keeps a moving average, or the weights that are there'
      : 'take the model.safetensors or a checkpoint of the same run, or the weights that are there';
  throw new PixelCnnError(
    'ERR_NO_SUCH_WEIGHTS',
    `${caller}: weights '${asked}' were asked for, but the model holds ${holds.map((held) => `'${held}'`).join(' and ')} weights only`,
    { remedy },
  );
}

/**
 * Runs `body` with the weights that a call uses, which do not change meanwhile. They are chosen only when the call gets its
 * turn, because a training run that it waits for may change which sets the model holds.
 * @throws PixelCnnError ERR_NO_SUCH_WEIGHTS; the reason of a `signal` that is aborted while the call waits.
 */
export function withWeights<R>(
  caller: string,
  model: { readonly holds: readonly Weights[]; readonly lock: WeightsLock },
  asked: Weights | undefined,
  signal: AbortSignal,
  body: (weights: Weights) => Promise<R>,
): Promise<R> {
  return model.lock.read(signal, () => body(chooseWeights(caller, model, asked)));
}

/**
 * Returns a function for calls with several submissions, to call right before each of them. It throws ERR_MODEL_IN_USE if
 * the weights have changed meanwhile. They cannot for calls that hold the model's lock; a stream does not hold it, because
 * a reader that pauses would keep a training run waiting.
 * @throws PixelCnnError ERR_NO_SUCH_WEIGHTS if the model no longer holds the weights that were chosen.
 */
export function checkUnchanged(
  model: { readonly holds: readonly Weights[]; readonly version: number },
  weights: Weights,
): () => void {
  check(model.holds.includes(weights), 'ERR_NO_SUCH_WEIGHTS', () => {
    return `a training run that began during this call has ended the '${weights}' weights of the model`;
  });
  const { version } = model;
  return () => {
    if (model.version === version) return;
    throw new PixelCnnError('ERR_MODEL_IN_USE', 'a training run changed the weights during this call', {
      remedy: 'await the run first, or call sample(), which a running training waits for',
    });
  };
}
