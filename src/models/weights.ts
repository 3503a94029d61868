// The two sets of weights that a model may hold, and which of them a call takes.
import { check, PixelCnnError } from '../errors.js';
import { z } from '../options.js';
import type { WeightsLock } from './weights-lock.js';

/** The trained weights, or their exponential moving average. */
export type Weights = 'raw' | 'ema';
export const weightSets = ['raw', 'ema'] as const satisfies readonly Weights[];

/** Which weights a call takes. */
export const weightsOption = z
  .enum(weightSets)
  .optional()
  .describe('raw, as trained, or ema, their moving average; default: ema where the model holds both');

/** What a model holds after a training run with this decay of the average. */
export function heldAfterTraining(emaDecay: number): readonly Weights[] {
  return emaDecay > 0 ? weightSets : ['raw'];
}

/**
 * The weights that are asked for or, where none are, the average if the model holds both and else what it holds.
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
 * Runs `body` with the weights that a call takes, during which they stay as they are. They are chosen when its turn has
 * come: a training run that the call waits for may change what the model holds.
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
 * For a call of several submissions: a check to be made right before each, that all of them use the same weights.
 * Calls that hold the model's lock pass it always; a stream, which may stand still for as long as its reader likes, does
 * not keep a training run waiting, and ends when the weights change.
 * @throws PixelCnnError ERR_NO_SUCH_WEIGHTS if a training run ended the average since it was chosen; the check throws
 * ERR_MODEL_IN_USE.
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
