// When work for a request should end early: the client has gone, or the time it may take is over.
import type { FastifyReply } from 'fastify';
import { HttpError } from './http-error.js';

/**
 * A signal that is aborted when the connection closes before the answer was sent, or after `milliseconds`.
 * Not Fastify's `request.signal`: in Node.js a request is closed as soon as its body has been read.
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
