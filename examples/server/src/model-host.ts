// Provides the model of the server: loads it from a file or, at the first start, trains it on MNIST.
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { type Device, loadImages, openDevice, PixelCNN, presets, train } from 'pixelcnn';
import { HttpError } from './http-error.js';

export interface TrainingProgress {
  readonly step: number;
  readonly totalSteps: number;
  /** The loss of the last batch: -log p of an image in nats. */
  readonly nats: number;
}

/** The number of training steps, which take under a minute on two cores and suffice for readable digits. */
const defaultSteps = 1300;

export class ModelHost implements AsyncDisposable {
  #device: Device | undefined;
  #model: PixelCNN | undefined;
  #progress: TrainingProgress | undefined;

  /** The model. @throws HttpError 503 with Retry-After while it is not ready. */
  get model(): PixelCNN {
    if (this.#model === undefined) {
      throw new HttpError(503, 'ERR_NOT_READY', 'the model is not ready yet', 5);
    }
    return this.#model;
  }

  /**
   * Loads the model from `file`. With `trainIfMissing`, trains a model first and saves it there if the file
   * is missing.
   * @throws Error for a model that needs more than a class, because requests cannot give it.
   */
  async start(
    file: string,
    options: {
      trainIfMissing?: boolean;
      steps?: number;
      onProgress?: (progress: TrainingProgress) => void;
    } = {},
  ): Promise<void> {
    if (options.trainIfMissing && !existsSync(file)) {
      this.#device = await openDevice();
      await this.#train(this.#device, file, options.steps ?? defaultSteps, options.onProgress);
      await this.#device.dispose();
    }
    // Leave one processor to the event loop.
    this.#device = await openDevice({ threads: Math.max(1, availableParallelism() - 1) });
    const model = await PixelCNN.load(this.#device, file);
    const needed = ['features', 'map'].find((name) => name in (model.config.condition ?? {}));
    if (needed !== undefined) {
      throw new Error(
        `this server gives a model no condition but a class, and ${file} was trained with \`${needed}\``,
      );
    }
    this.#model = model;
  }

  /** Returns the state of the model for /healthz. */
  health(): object {
    if (this.#model !== undefined) {
      const { config, imageSize, classNames, device } = this.#model;
      const { backend, name, instructionSet, threads } = device.info;
      return {
        status: 'ready',
        model: { ...config, imageSize, classNames },
        device: { backend, name, instructionSet, threads },
      };
    }
    return this.#progress === undefined
      ? { status: 'starting' }
      : { status: 'training', training: this.#progress };
  }

  async #train(
    device: Device,
    file: string,
    steps: number,
    onProgress: ((progress: TrainingProgress) => void) | undefined,
  ): Promise<void> {
    const { data, model: shape, training } = presets['mnist-demo'];
    const images = await loadImages(data);
    // The digits are the classes. Leaving some out lets visitors ask for any digit, and guide the drawing.
    const condition = { classes: 10, none: true };
    await using model = await PixelCNN.create(device, { ...shape, channels: images.channels, condition });
    for await (const event of train(model, images, { ...training, steps, conditionDropout: 0.1 })) {
      if (event.type !== 'step') continue;
      this.#progress = { step: event.step, totalSteps: event.totalSteps, nats: event.nats };
      onProgress?.(this.#progress);
    }
    await mkdir(dirname(file), { recursive: true });
    await model.save(file, { weights: 'ema' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#device?.dispose();
  }
}
