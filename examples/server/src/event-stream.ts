// Streams the image while it is drawn as server-sent events, no faster than the client reads them.
import { Readable } from 'node:stream';
import type { SampledImages, SampleFrame } from 'pixelcnn';
import { HttpError } from './http-error.js';
import { base64Images, imagesAnswer } from './requests.js';

/** Milliseconds that a client has to read the last event after the signal was aborted. */
const grace = 1000;

/**
 * Returns a stream with an event `frame` for each frame and a last event: `done` with the same data as an
 * answer without a stream, or `error` at the deadline. The stream is destroyed soon after `signal` was
 * aborted, so that a client that reads nothing does not keep its place in the queue.
 */
export function sampleEvents(
  frames: AsyncGenerator<SampleFrame, SampledImages>,
  signal: AbortSignal,
): Readable {
  const stream = Readable.from(eventTexts(frames), { objectMode: false });
  const end = () => {
    const timer = setTimeout(() => stream.destroy(), grace);
    stream.once('close', () => clearTimeout(timer));
  };
  signal.addEventListener('abort', end, { once: true });
  return stream.once('close', () => signal.removeEventListener('abort', end));
}

async function* eventTexts(frames: AsyncGenerator<SampleFrame, SampledImages>): AsyncGenerator<string> {
  try {
    for (;;) {
      const { done, value } = await frames.next();
      if (done) {
        yield eventText('done', imagesAnswer(value));
        return;
      }
      const { step, steps, images } = value;
      yield eventText('frame', { step, steps, images: base64Images(images.data, images.count) });
    }
  } catch (error) {
    // Any other error ends the connection, and its details are only for the log.
    if (!(error instanceof HttpError)) throw error;
    yield eventText('error', { code: error.code, message: error.message });
  } finally {
    // If the client left early, the sampler has not ended and would keep its memory.
    await frames.return(undefined as never);
  }
}

function eventText(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
