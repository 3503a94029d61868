// Measures how long a training step, a forward pass and sampling take on this machine: medians over repeats.
import type { ImageBatch } from '../data/image-batch.js';
import type { Device } from '../device/device.js';
import type { PixelCnnOptions } from '../models/config.js';
import { recordLogits } from '../models/network.js';
import { PackedPrograms } from '../models/packed-programs.js';
import { PixelCNN } from '../pixelcnn.js';
import type { Algorithm } from '../program/algorithm.js';
import { Recorder } from '../program/recorder.js';
import { trainSchema } from '../train/options.js';
import { TrainingStep } from '../train/training-step.js';

export interface Timing {
  /** Median time of one run over the whole batch. */
  readonly milliseconds: number;
  readonly imagesPerSecond: number;
  /** The number of measured runs; the first run is not measured. */
  readonly repeats: number;
}

export interface MeasureOptions {
  readonly model?: PixelCnnOptions;
  /** Images per run. Default 16. */
  readonly batch?: number;
  /** Default 28. */
  readonly height?: number;
  /** Default 28. */
  readonly width?: number;
  /** How long to measure; at least 3 runs are made. Default 2. */
  readonly seconds?: number;
}

/** Measures training steps, with two in flight as in training. */
export async function measureTrainingStep(
  device: Device,
  options: MeasureOptions & { readonly algorithm?: Algorithm } = {},
): Promise<Timing> {
  const { algorithm = 'auto', height = 28, width = 28, batch: count = 16, seconds = 2 } = options;
  await using model = await PixelCNN.create(device, options.model);
  const step = await TrainingStep.create(model.internals(), { height, width, dynamic: false, algorithm });
  const batch = {
    bytes: patternImages(count, height, width, model.config.channels).data,
    count,
  };
  const defaults = trainSchema.parse({});
  try {
    return await measure(() => step.run(batch, defaults), { seconds, images: count, inFlight: 2 });
  } finally {
    step.dispose();
  }
}

/** Measures forward passes from bytes to logits, which stay in the device's memory. */
export async function measureForward(
  device: Device,
  options: MeasureOptions & { readonly algorithm?: Algorithm } = {},
): Promise<Timing> {
  const { algorithm = 'direct', height = 28, width = 28, batch = 16, seconds = 2 } = options;
  await using model = await PixelCNN.create(device, options.model);
  const internals = model.internals();
  const images = patternImages(batch, height, width, model.config.channels);
  const compiled = await PackedPrograms.compile(internals, 'raw', algorithm, (recording) => {
    const r = new Recorder(device, recording);
    const bytes = r.input('bytes', [batch, height, width, model.config.channels], 'uint8');
    recordLogits(r, internals, { bytes, condition: null });
    return [r] as const;
  });
  const [forward] = compiled.programs;
  try {
    // The first run, which is not measured, packs the weights.
    const run = () => compiled.submit([forward.step([images.data])]);
    return await measure(run, { seconds, images: batch, inFlight: 1 });
  } finally {
    compiled.dispose();
  }
}

/** Measures drawing a batch of whole images. */
export async function measureSampling(device: Device, options: MeasureOptions = {}): Promise<Timing> {
  const { height = 28, width = 28, batch = 16, seconds = 2 } = options;
  await using model = await PixelCNN.create(device, options.model);
  return await measure(() => model.sample({ count: batch, height, width, seed: 0 }), {
    seconds,
    images: batch,
    inFlight: 1,
  });
}

/** Runs once to compile and warm up, then repeatedly with `inFlight` runs in flight, and takes the median time. */
async function measure(
  run: () => Promise<unknown>,
  options: { seconds: number; images: number; inFlight: number },
): Promise<Timing> {
  await run();
  const times: number[] = [];
  const pending: Promise<unknown>[] = [];
  let last = performance.now();
  const end = last + options.seconds * 1000;
  try {
    while (times.length < 3 || last < end) {
      while (pending.length < options.inFlight) {
        const started = run();
        // The rejection is handled when this run is awaited below; this keeps Node from reporting it before that.
        started.catch(() => undefined);
        pending.push(started);
      }
      await pending.shift();
      const now = performance.now();
      times.push(now - last);
      last = now;
    }
  } finally {
    await Promise.allSettled(pending);
  }
  const milliseconds = median(times);
  return { milliseconds, imagesPerSecond: (1000 * options.images) / milliseconds, repeats: times.length };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Returns images with all byte values in them. Their content does not change the time. */
function patternImages(count: number, height: number, width: number, channels: number): ImageBatch {
  const data = Uint8Array.from(
    { length: count * height * width * channels },
    (_, i) => (i * 37 + (i >> 5)) & 255,
  );
  return { data, count, height, width, channels };
}
