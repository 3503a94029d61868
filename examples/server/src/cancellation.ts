// Creates signals that end the work for a request early, when its client leaves or it takes too long.
import type { FastifyReply } from 'fastify';
import { HttpError } from './http-error.js';

/**
 * Returns a signal that is aborted after `milliseconds`, or when the connection closes before the answer was
 * sent. Fastify's `request.signal` cannot be used for this: Node.js closes a request as soon as its body has
 * been read.
 */
export function cancellationSignal(reply: FastifyReply, milliseconds: number): AbortSignal {
  const controller = new AbortController();
  const timer = setTimeout(() => {
    controller.abort(new HttpError(503, 'ERR_DEADLINE', `not done within ${milliseconds} ms`, 1));
  }, milliseconds);
  reply.raw.once('close', () => {
    clearTimeout(timer);
    if (!reply.raw.writableFinished) {
      controller.abort(new HttpError(499, 'ERR_CLIENT_GONE', 'the client closed the connection'));
    }
  });
  return controller.signal;
}
