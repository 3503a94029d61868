// Server-sent events: the canvas as it fills, written as fast as the client reads and no faster.
import { Readable } from 'node:stream';
import type { SampledImages, SampleFrame } from 'pixelcnn';
import { HttpError } from './http-error.js';
import { base64Images, imagesAnswer } from './requests.js';

/** Milliseconds that a client has to take the last event once the signal is aborted. */
const grace = 1000;

/**
 * An event `frame` for each frame and, at last, `done` with the data of the plain answer, or `error` at the deadline. A
 * client that reads nothing cannot hold its place in the queue: its stream is destroyed soon after the signal is aborted.
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
    // Of anything but a deadline the client learns by the end of the connection, and the log by this error.
    if (!(error instanceof HttpError)) throw error;
    yield eventText('error', { code: error.code, message: error.message });
  } finally {
    // Without it the sampler would keep what it holds when the client leaves halfway.
    await frames.return(undefined as never);
  }
}

function eventText(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
