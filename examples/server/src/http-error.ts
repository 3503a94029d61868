// Defines the errors of requests and answers all of them in one form.
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PixelCnnError } from 'pixelcnn';

/** An error with its HTTP status, a stable code for programs and a sentence for people. */
export class HttpError extends Error {
  readonly statusCode: number;
  readonly code: string;
  /** Sent as the Retry-After header. */
  readonly retryAfterSeconds: number | undefined;

  constructor(statusCode: number, code: string, message: string, retryAfterSeconds?: number) {
    super(message);
    this.name = 'HttpError';
    this.statusCode = statusCode;
    this.code = code;
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/**
 * Answers `{ error: { code, message } }`. If the client did not cause the error, the answer contains no
 * details, because they could reveal something about the server.
 */
export function answerError(error: Error, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const statusCode = statusOf(error);
  if (error instanceof HttpError && error.retryAfterSeconds !== undefined) {
    reply.header('retry-after', error.retryAfterSeconds);
  }
  if (statusCode === 500) request.log.error(error);
  const code = 'code' in error ? error.code : 'ERR_BAD_REQUEST';
  const body =
    statusCode === 500
      ? { code: 'ERR_INTERNAL', message: 'the server failed to answer this request' }
      : { code, message: error.message };
  return reply.code(statusCode).send({ error: body });
}

/** The codes of PixelCnnError that the content of a request can cause. */
const clientCodes = new Set([
  'ERR_INVALID_ARG_TYPE',
  'ERR_INVALID_ARG_VALUE',
  'ERR_OUT_OF_RANGE',
  'ERR_BUFFER_SIZE',
  'ERR_IMAGE_CHANNELS',
  'ERR_CONDITION',
  'ERR_CLASS_NAME',
  'ERR_LIMIT',
]);

function statusOf(error: Error): number {
  if (error instanceof PixelCnnError) return clientCodes.has(error.code) ? 400 : 500;
  // HttpError and the errors of Fastify have a status.
  return 'statusCode' in error && typeof error.statusCode === 'number' ? error.statusCode : 500;
}
