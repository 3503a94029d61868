// Saves a run: a failed save is reported and the run goes on, but the last save waits for space and must succeed.
import { FullDiskError, saveOrWait } from '../checkpoint/full-disk.js';
import { PixelCnnError } from '../errors.js';
import type { CheckpointFolder } from './checkpoint-folder.js';
import type { TrainingRun } from './training-run.js';
import type { RunPosition } from './training-state.js';

export class RunSaver {
  readonly #run: TrainingRun;
  readonly #folder: CheckpointFolder;
  readonly #position: RunPosition;
  readonly #encode: () => Promise<Uint8Array>;
  /** The newest checkpoint and its step. */
  #checkpoint: string | undefined;
  #savedStep: number;
  /** Validation loss, in nats, of the best checkpoint that was saved. */
  #savedBest: number | null;
  /** The validation that was the best so far, if its checkpoint could not be saved. */
  #unsavedBest: { step: number; nats: number } | undefined;

  /**
   * `checkpoint` is the path of the checkpoint that the run continues from, and `encode` returns the bytes of a
   * checkpoint of the run as it is.
   */
  constructor(
    run: TrainingRun,
    folder: CheckpointFolder,
    position: RunPosition,
    checkpoint: string | undefined,
    encode: () => Promise<Uint8Array>,
  ) {
    this.#run = run;
    this.#folder = folder;
    this.#position = position;
    this.#checkpoint = checkpoint;
    this.#encode = encode;
    this.#savedStep = position.step;
    this.#savedBest = position.bestNats;
  }

  /** Path of the newest checkpoint. */
  get checkpoint(): string | undefined {
    return this.#checkpoint;
  }

  /** Forgets the best validation, because later ones are not comparable with it. */
  forgetBest(): void {
    this.#savedBest = null;
    this.#unsavedBest = undefined;
  }

  /**
   * Saves and returns true, or reports the failure and returns false: a full disk must not end a run that may be
   * able to save later.
   */
  async trySave(best: boolean): Promise<boolean> {
    const position = this.#position;
    try {
      await this.#write(await this.#encode(), best);
      return true;
    } catch (error) {
      if (!(error instanceof PixelCnnError) || error.code === 'ERR_DISPOSED') throw error;
      const { code, message } = error;
      const { step, bestNats } = position;
      if (best && bestNats !== null) this.#unsavedBest = { step, nats: bestNats };
      // best.safetensors was not written, so the next validation is compared with the last best that was saved.
      position.bestNats = this.#savedBest;
      this.#run.emit({ type: 'checkpointFailed', step, code, message });
      return false;
    }
  }

  /**
   * Saves when the run has ended. On a full disk it waits for space until the run is stopped once more or
   * `signal` is aborted.
   * @throws PixelCnnError whose message says which steps are lost.
   */
  async saveLast(signal: AbortSignal | undefined): Promise<void> {
    const { step } = this.#position;
    const best = this.#unsavedBest?.step === step;
    if (best) this.#position.bestNats = this.#unsavedBest!.nats;
    const { giveUpSignal } = this.#run;
    try {
      const file = await this.#encode();
      await saveOrWait(() => this.#write(file, best), {
        signal: signal === undefined ? giveUpSignal : AbortSignal.any([giveUpSignal, signal]),
        report: ({ code, message, path, bytes, missing }) => {
          this.#run.waitsForDisk = true;
          this.#run.emit({ type: 'waitingForDisk', step, code, message, path, bytes, missing });
        },
      });
    } catch (error) {
      if (!(error instanceof PixelCnnError) || error.code === 'ERR_DISPOSED') throw error;
      throw this.#lossError(error);
    } finally {
      this.#run.waitsForDisk = false;
    }
  }

  /** Makes the error of a failed last save. It says which steps are lost and which file holds those before. */
  #lossError(cause: PixelCnnError): PixelCnnError {
    const [first, last] = [this.#savedStep + 1, this.#position.step];
    const lost =
      first > last
        ? `the validation after step ${last} is lost`
        : first === last
          ? `step ${last} is lost`
          : `steps ${first} to ${last} are lost`;
    const todo = cause instanceof FullDiskError ? 'make room on the disk' : 'mend what failed';
    const remedy =
      this.#checkpoint === undefined
        ? `${todo} and train again: there is no checkpoint`
        : `${todo} and resume: ${this.#checkpoint} holds step ${this.#savedStep}`;
    return new PixelCnnError(cause.code, `train: ${lost}: ${cause.message}`, { remedy, cause });
  }

  /**
   * Writes the step checkpoint, and best.safetensors before it if this is the best. The run is saved once
   * either file holds its step: if the disk has room for the best one only, a resumed run writes the other.
   */
  async #write(file: Uint8Array, best: boolean): Promise<void> {
    await this.#run.readyForCheckpoint();
    const { step, bestNats } = this.#position;
    const removed: string[] = [];
    const saved = (written: { path: string; removed: string[] }) => {
      this.#checkpoint = written.path;
      this.#savedStep = step;
      removed.push(...written.removed);
    };
    if (best) {
      saved(await this.#folder.saveBest(file));
      this.#savedBest = bestNats;
      this.#unsavedBest = undefined;
    }
    let failure: PixelCnnError | undefined;
    try {
      saved(await this.#folder.saveStep(step, file));
    } catch (error) {
      if (!best || !(error instanceof PixelCnnError)) throw error;
      failure = error;
    }
    this.#run.emit({ type: 'checkpoint', step, path: this.#checkpoint!, removed });
    if (failure === undefined) return;
    const { code, message } = failure;
    this.#run.emit({ type: 'checkpointFailed', step, code, message });
  }
}
