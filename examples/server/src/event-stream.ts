// Server-sent events: the canvas as it fills, written as fast as the client reads and no faster.
import { addAbortSignal, Readable } from 'node:stream';
import type { SampledImages, SampleFrame } from 'pixelcnn';
import { base64Images, imagesAnswer } from './requests.js';

/**
 * An event `frame` for each frame and, at last, `done` with the same data as the plain answer. The stream is destroyed
 * when the signal is aborted, so that a client that reads nothing does not hold its place in the queue.
 */
export function sampleEvents(
  frames: AsyncGenerator<SampleFrame, SampledImages>,
  signal: AbortSignal,
): Readable {
  return addAbortSignal(signal, Readable.from(eventTexts(frames), { objectMode: false }));
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
  } finally {
    // Without it the sampler would keep what it holds when the client leaves halfway.
    await frames.return(undefined as never);
  }
}

function eventText(name: string, data: object): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}
