// Builds the Fastify server with its routes.
import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fastify, { type FastifyInstance, type FastifyServerOptions } from 'fastify';
import type { z } from 'zod';
import { BoundedQueue, type QueueLimits } from './bounded-queue.js';
import { cancellationSignal } from './cancellation.js';
import { sampleEvents } from './event-stream.js';
import { answerError, HttpError } from './http-error.js';
import type { ModelHost } from './model-host.js';
import {
  type CompleteRequest,
  imagesAnswer,
  imagesOf,
  knownOf,
  type LogLikelihoodRequest,
  type RequestLimits,
  requestSchemas,
  type SampleRequest,
} from './requests.js';

export interface ServerOptions extends RequestLimits, QueueLimits {
  /** Milliseconds after which the work for a request is aborted. */
  readonly deadline: number;
  readonly logger: FastifyServerOptions['logger'];
}

const defaults: ServerOptions = {
  maxCount: 64,
  maxSide: 64,
  // With two requests, the device always has a step to run while the other request is between two steps.
  running: 2,
  waiting: 64,
  deadline: 30_000,
  logger: false,
};

/** Builds a server for the model of `host`, which may still be loading. */
export function buildServer(host: ModelHost, options: Partial<ServerOptions> = {}): FastifyInstance {
  const settings = { ...defaults, ...options };
  const { deadline, logger } = settings;
  const app = fastify({ logger: logger ?? false, bodyLimit: 2 ** 20, requestTimeout: 10_000 });
  const queue = new BoundedQueue({ running: settings.running, waiting: settings.waiting });
  const schemas = requestSchemas(settings);

  app.setValidatorCompiler<z.ZodType>(({ schema }) => (body) => {
    const result = schema.safeParse(body);
    return result.success ? { value: result.data } : { error: invalidRequest(result.error) };
  });
  app.setErrorHandler(answerError);
  app.setNotFoundHandler((request) => {
    throw new HttpError(404, 'ERR_NOT_FOUND', `there is no ${request.method} ${request.url.slice(0, 100)}`);
  });

  app.get('/healthz', (_request, reply) => {
    const health = host.health();
    const { running, waiting } = queue;
    const ready = 'model' in health;
    return reply.code(ready ? 200 : 503).send({ ...health, queue: { running, waiting } });
  });

  app.post<{ Body: SampleRequest }>(
    '/sample',
    { schema: { body: schemas.sample } },
    async (request, reply) => {
      const { model } = host;
      const signal = cancellationSignal(reply, deadline);
      const { stepsPerFrame, ...drawing } = { seed: randomSeed(), ...request.body };
      if (request.headers.accept?.includes('text/event-stream')) {
        const frames = model.sampleStream({
          ...drawing,
          ...(stepsPerFrame === undefined ? {} : { stepsPerFrame }),
          signal,
        });
        const place = await queue.enter(signal);
        const events = sampleEvents(frames, signal).once('close', () => place[Symbol.dispose]());
        return reply.type('text/event-stream').header('cache-control', 'no-store').send(events);
      }
      using _place = await queue.enter(signal);
      return imagesAnswer(await model.sample({ ...drawing, signal }));
    },
  );

  app.post<{ Body: CompleteRequest }>(
    '/complete',
    { schema: { body: schemas.complete } },
    async (request, reply) => {
      const { model } = host;
      const images = imagesOf(request.body, model);
      const known = knownOf(request.body, images);
      const { seed = randomSeed(), temperature, labels, guidance } = request.body;
      const signal = cancellationSignal(reply, deadline);
      using _place = await queue.enter(signal);
      const drawing = { seed, temperature, labels, guidance, signal };
      return imagesAnswer(await model.complete({ images, known, ...drawing }));
    },
  );

  app.post<{ Body: LogLikelihoodRequest }>(
    '/log-likelihood',
    { schema: { body: schemas.logLikelihood } },
    async (request, reply) => {
      const { model } = host;
      const images = imagesOf(request.body, model);
      const signal = cancellationSignal(reply, deadline);
      using _place = await queue.enter(signal);
      const { labels } = request.body;
      const { nats, bitsPerDim, weights } = await model.logLikelihood(images, { labels, signal });
      return { nats: [...nats], bitsPerDim: [...bitsPerDim], weights };
    },
  );

  addPage(app);
  return app;
}

/** Adds the page and the files that it loads. They are read only once. */
function addPage(app: FastifyInstance): void {
  const files = {
    '/': ['index.html', 'text/html; charset=utf-8'],
    '/style.css': ['style.css', 'text/css; charset=utf-8'],
    '/page.js': ['page.js', 'text/javascript; charset=utf-8'],
    '/picture.js': ['picture.js', 'text/javascript; charset=utf-8'],
    '/classes.js': ['classes.js', 'text/javascript; charset=utf-8'],
    '/requests.js': ['requests.js', 'text/javascript; charset=utf-8'],
  } as const;
  for (const [url, [name, type]] of Object.entries(files)) {
    const content = readFileSync(new URL(`../page/${name}`, import.meta.url));
    app.get(url, (_request, reply) => {
      return reply
        .type(type)
        .header('content-security-policy', "default-src 'self'; img-src 'self' data:")
        .send(content);
    });
  }
}

function invalidRequest(error: z.ZodError): HttpError {
  const [issue] = error.issues;
  const where = issue?.path.length ? `${issue.path.join('.')}: ` : '';
  return new HttpError(400, 'ERR_INVALID_REQUEST', `${where}${issue?.message}`);
}

/** Returns a seed below 2^48, which a number in JSON holds exactly. */
function randomSeed(): number {
  return randomInt(2 ** 48 - 1);
}
