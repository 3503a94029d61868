// Trains a preset for a given time on any device. It measures the rate first, so that the learning rate's schedule
// ends when the time does.
import { appendFileSync, existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { evaluate, PixelCNN, selectImages, sliceImages, train } from '../../dist/index.js';
import { splitIndices } from '../../dist/train/batches.js';

const seed = 0;
const logLines = 5000;
const secondsBetweenCheckpoints = 15;

/**
 * Trains `preset` (src/train/presets.ts) on `images` and evaluates it on `test`, if given; both are an ImageBatch. Writes
 * steps.jsonl, model.safetensors and result.json into `folder` and returns the result. A run that is killed leaves its log
 * and checkpoints/.
 */
export async function trainForMinutes(device, { preset, images, test, minutes, batch, folder, about }) {
  const began = performance.now();
  const left = () => 60 * minutes - (performance.now() - began) / 1000;
  if (existsSync(join(folder, 'steps.jsonl')))
    throw new Error(`${folder} already holds a run: choose another folder`);
  mkdirSync(folder, { recursive: true });
  const checkpoints = join(folder, 'checkpoints');
  const config = { ...preset.model, channels: images.channels };
  const held = selectImages(images, splitIndices(images.count, preset.validation, seed).validation);
  const { epochs: _, steps: __, ...hyperparameters } = preset.training;
  const settings = { ...hyperparameters, batchSize: batch, seed };
  const protocol = settings.protocol ?? 'levels';
  const weights = settings.emaDecay > 0 ? 'ema' : 'raw';

  const speed = await measure(device, {
    config,
    images,
    held,
    settings,
    seconds: Math.min(5, 3 * minutes),
    folder,
  });
  // Evaluating the test images is part of that time, unless it would take most of it.
  const scoring = speed.secondsPerScore * ((test?.count ?? 0) + held.count);
  const seconds = 0.97 * Math.max(left() - scoring, left() / 2);
  const stepsPerEpoch = Math.ceil((images.count - held.count) / batch);
  const secondsPerStep = speed.secondsPerStep + speed.secondsPerEpochEnd / stepsPerEpoch;
  const steps = Math.max(1, Math.floor(seconds / secondsPerStep));
  const scaled = {
    ...settings,
    steps,
    // The window of the average is at most a tenth of the run.
    ...(weights === 'ema' ? { emaDecay: Math.min(settings.emaDecay, Math.max(0.5, 1 - 10 / steps)) } : {}),
    validation: preset.validation,
    checkpointFolder: checkpoints,
    checkpointEvery: Math.max(1, Math.ceil(secondsBetweenCheckpoints / secondsPerStep)),
    keepLast: 1,
  };
  const model = await PixelCNN.create(device, { ...config, seed });
  const run = train(model, images, scaled);
  // The rate may fall after it was measured, and a late run must still leave its weights.
  const late = setTimeout(() => run.stop(), 1000 * Math.max(seconds, left() - scoring));
  const best = await log(run, join(folder, 'steps.jsonl'), Math.ceil(steps / logLines));
  clearTimeout(late);
  const summary = await run;

  const score = (scored, given) => evaluate(scored, given, { protocol, weights, seed });
  const atEnd = held.count > 0 ? await score(model, held) : undefined;
  const ofBest = best !== undefined && best.nats < atEnd.nats;
  const chosen = ofBest ? await PixelCNN.load(device, join(checkpoints, 'best.safetensors')) : model;
  await chosen.save(join(folder, 'model.safetensors'), { weights });
  const { epochs, stopped, skippedSteps } = summary;
  const { learningRate, schedule, warmupSteps, emaDecay, maxGradientNorm } = scaled;
  const result = {
    ...about,
    test: test === undefined ? null : await score(chosen, test),
    validation: ofBest ? best : (atEnd ?? null),
    protocol,
    weights,
    weightsOf: ofBest ? `the best epoch, after ${best.step} steps` : 'the end of the run',
    split: { training: images.count - held.count, validation: held.count, test: test?.count ?? 0 },
    model: model.config,
    steps: summary.steps,
    plannedSteps: steps,
    epochs,
    stopped,
    skippedSteps,
    batch,
    seconds: summary.seconds,
    imagesPerSecond: (summary.steps * batch) / summary.seconds,
    measured: speed,
    schedule: { learningRate, schedule, warmupSteps, steps, emaDecay, maxGradientNorm },
    device: device.info,
  };
  writeFileSync(join(folder, 'result.json'), `${JSON.stringify(result, null, 2)}\n`);
  rmSync(checkpoints, { recursive: true, force: true });
  return result;
}

/** Writes every `every`th step and all other events of the run as they come. Returns the best validation. */
async function log(run, file, every) {
  let best;
  for await (const event of run) {
    if (event.type === 'step' && event.step % every !== 0 && event.step !== 1) continue;
    if (event.type === 'validation' && event.best) best = event;
    appendFileSync(file, `${JSON.stringify(event)}\n`);
  }
  return best;
}

/** Measures the seconds of a step, of evaluating an image, and of an epoch's end: validation and two checkpoints. */
async function measure(device, { config, images, held, settings, seconds, folder }) {
  const model = await PixelCNN.create(device, { ...config, seed });
  const run = train(model, images, { ...settings, steps: 2 ** 31 });
  let first;
  let last;
  for await (const { type, step } of run) {
    if (type !== 'step') continue;
    last = { step, time: performance.now() };
    // The first steps compile and, on a GPU, search for plans.
    if (step === 3) first = last;
    if (first !== undefined && step > 5 && last.time - first.time > 1000 * seconds) run.stop();
  }
  await run;
  const secondsPerStep = (last.time - first.time) / (last.step - first.step) / 1000;

  const few = sliceImages(held.count > 0 ? held : images, 0, Math.min(64, held.count || images.count));
  const options = { protocol: settings.protocol ?? 'levels', seed };
  await evaluate(model, few, options);
  const secondsPerScore = (await secondsOf(() => evaluate(model, few, options))) / few.count;
  // A checkpoint is four times the weights, and the best one is written twice.
  const file = join(folder, 'measured.safetensors');
  const secondsPerEpochEnd = held.count * secondsPerScore + 8 * (await secondsOf(() => model.save(file)));
  rmSync(file);
  await model.dispose();
  return { secondsPerStep, secondsPerScore, secondsPerEpochEnd };
}

async function secondsOf(body) {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
}
