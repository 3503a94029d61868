// Limits what one call may ask of a device and how many calls may wait for it, so that a server's work stays bounded.
import { getMaxListeners, setMaxListeners } from 'node:events';
import { allocating, PixelCnnError } from '../errors.js';
import { z } from '../options.js';

export const limitsSchema = z.strictObject({
  /** The most calls at once, working or waiting; one more is refused with ERR_QUEUE_FULL. Default 64. */
  maxQueue: z.int().min(1).max(1024).default(64),
  /** The most images of one call. Default 65,536. */
  maxBatch: z.int().min(1).default(65_536),
  /** The most pixels of one call: images x height x width. Default 2^26. */
  maxPixels: z
    .int()
    .min(1)
    .default(2 ** 26),
  /** The most milliseconds of a call, waiting included; then it rejects with ERR_TIMEOUT. Default: an hour. */
  timeoutMs: z
    .int()
    .min(1)
    .max(2 ** 31 - 1)
    .default(3_600_000),
});
export type DeviceLimits = Readonly<z.output<typeof limitsSchema>>;

/** All limits at their maximum, for the command line, where the user can press Ctrl-C. */
export const widestLimits: DeviceLimits = {
  maxQueue: 1024,
  maxBatch: 2 ** 32 - 1,
  maxPixels: Number.MAX_SAFE_INTEGER,
  timeoutMs: 2 ** 31 - 1,
};

/** The number and size of the images that a call works on. */
interface Extent {
  readonly count: number;
  readonly height: number;
  readonly width: number;
  /** How often the call works on each image. Default 1. */
  readonly passes?: number;
}

/** A call that is under way. `signal` aborts with the caller's signal or at the deadline; `end` makes room for another call. */
export interface AdmittedCall {
  readonly signal: AbortSignal;
  end(): void;
}

/** Counts the calls that are under way on a device and refuses those beyond its limits. */
export class CallQueue {
  readonly limits: DeviceLimits;
  #underWay = 0;

  constructor(limits: DeviceLimits) {
    this.limits = limits;
  }

  /** Begins a call. @throws PixelCnnError ERR_LIMIT, ERR_QUEUE_FULL; the reason of a `signal` that is aborted already. */
  admit(caller: string, extent: Extent, signal: AbortSignal | undefined): AdmittedCall {
    const { maxQueue, maxBatch, maxPixels, timeoutMs } = this.limits;
    const { count, height, width, passes = 1 } = extent;
    const pixels = count * height * width * passes;
    const often = passes === 1 ? '' : ` ${passes} times`;
    const asked = `${caller}: ${count} images of ${height}x${width}${often}, ${pixels} pixels`;
    checkLimit(count <= maxBatch, 'ERR_LIMIT', `${asked}: the device takes`, 'maxBatch', maxBatch, 'images');
    checkLimit(
      pixels <= maxPixels,
      'ERR_LIMIT',
      `${asked}: the device takes`,
      'maxPixels',
      maxPixels,
      'pixels',
    );
    signal?.throwIfAborted();
    const full = `${caller}: ${this.#underWay} calls are under way already; the device takes`;
    checkLimit(this.#underWay < maxQueue, 'ERR_QUEUE_FULL', full, 'maxQueue', maxQueue, 'at once');

    this.#underWay += 1;
    const controller = new AbortController();
    const abort = () => controller.abort(signal?.reason);
    if (signal !== undefined) {
      expectListeners(signal, maxQueue);
      signal.addEventListener('abort', abort, { once: true });
    }
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      this.#underWay -= 1;
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    };
    const timer = setTimeout(() => {
      controller.abort(timeout(caller, timeoutMs));
      // Without this, a stream that nobody reads any more would keep its place for ever.
      end();
    }, timeoutMs).unref();
    return { signal: controller.signal, end };
  }

  /** Runs `body` as one call, which {@link admit} begins. A result that comes after the abort is dropped. */
  async run<R>(
    caller: string,
    extent: Extent,
    signal: AbortSignal | undefined,
    body: (signal: AbortSignal) => Promise<R>,
  ): Promise<R> {
    const call = this.admit(caller, extent, signal);
    try {
      const result = await allocating(caller, () => body(call.signal));
      call.signal.throwIfAborted();
      return result;
    } finally {
      call.end();
    }
  }
}

/** Keeps Node.js from warning of a leak when many calls share a signal: each call removes its listener at its end. */
function expectListeners(signal: AbortSignal, calls: number): void {
  const most = getMaxListeners(signal);
  if (most > 0 && most <= calls) setMaxListeners(calls + most, signal);
}

function checkLimit(
  fits: boolean,
  code: string,
  what: string,
  name: keyof DeviceLimits,
  limit: number,
  unit: string,
): void {
  if (fits) return;
  throw new PixelCnnError(code, `${what} at most ${limit} ${unit} (${name})`, {
    remedy: `ask for less at a time, or raise it: openDevice({ limits: { ${name}: … } })`,
  });
}

function timeout(caller: string, milliseconds: number): PixelCnnError {
  return new PixelCnnError('ERR_TIMEOUT', `${caller} was not done after ${milliseconds} ms (timeoutMs)`, {
    remedy: 'ask for less at a time, or raise it: openDevice({ limits: { timeoutMs: … } })',
  });
}
