// Provides the model of the server.
import { availableParallelism } from 'node:os';
import { type Device, openDevice, PixelCNN } from 'pixelcnn';
import { HttpError } from './http-error.js';

/** The model of a server that is given none: the pretrained digits of the package. */
export const defaultModel = 'pixelcnn:digits';

export class ModelHost implements AsyncDisposable {
  #device: Device | undefined;
  #model: PixelCNN | undefined;

  /** The model. @throws HttpError 503 with Retry-After while it is not ready. */
  get model(): PixelCNN {
    if (this.#model === undefined) {
      throw new HttpError(503, 'ERR_NOT_READY', 'the model is not ready yet', 5);
    }
    return this.#model;
  }

  /**
   * Loads the model from a file, or a pretrained one by its name.
   * @throws Error for a model that needs more than a class, because requests cannot give it.
   */
  async start(source: string = defaultModel): Promise<void> {
    // Leave one processor to the event loop.
    this.#device = await openDevice({ threads: Math.max(1, availableParallelism() - 1) });
    const model = await PixelCNN.load(this.#device, source);
    const needed = ['features', 'map'].find((name) => name in (model.config.condition ?? {}));
    if (needed !== undefined) {
      throw new Error(
        `this server gives a model no condition but a class, and ${source} was trained with \`${needed}\``,
      );
    }
    this.#model = model;
  }

  /** Returns the state of the model for /healthz. */
  health(): object {
    if (this.#model === undefined) return { status: 'starting' };
    const { config, imageSize, classNames, device } = this.#model;
    const { backend, name, instructionSet, threads } = device.info;
    return {
      status: 'ready',
      model: { ...config, imageSize, classNames },
      device: { backend, name, instructionSet, threads },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#device?.dispose();
  }
}
