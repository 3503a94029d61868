// Starts the example server with a planted fault. Usage: node planted-server.mjs FAULT MODEL_FILE
import { ModelHost } from '../../examples/server/dist/model-host.js';
import { buildServer } from '../../examples/server/dist/server.js';

const [fault, file] = process.argv.slice(2);
const host = new ModelHost();
const app = buildServer(host);
const kept = [];
let requests = 0;

const faults = {
  none: {},
  leak: {
    onRequest: async () => {
      kept.push(Buffer.alloc(2 ** 19, 1));
    },
  },
  block: {
    onRequest: async () => {
      requests += 1;
      const end = performance.now() + (requests % 5 === 0 ? 150 : 0);
      while (performance.now() < end);
    },
  },
  twice: {
    onResponse: async (_request, reply) => {
      requests += 1;
      const socket = reply.raw.socket ?? _request.raw.socket;
      if (requests % 50 === 0) socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}');
    },
  },
  never: {
    onRequest: () => {
      requests += 1;
      return requests % 100 === 0 ? new Promise(() => undefined) : Promise.resolve();
    },
  },
  wrong: {
    onSend: async (_request, reply, payload) => {
      requests += 1;
      return reply.statusCode === 200 && requests % 10 === 0 && typeof payload === 'string'
        ? payload.replace('A', 'B').replace('1', '2')
        : payload;
    },
  },
  label: {
    preValidation: async (request) => {
      requests += 1;
      if (requests % 10 === 0 && request.body?.labels !== undefined) request.body.labels = 0;
    },
  },
  rejection: {
    onRequest: async () => {
      requests += 1;
      if (requests % 100 === 0) Promise.reject(new Error('planted'));
    },
  },
  crash: {
    onRequest: async () => {
      requests += 1;
      if (requests === 300) process.kill(process.pid, 'SIGSEGV');
    },
  },
};
for (const [name, hook] of Object.entries(faults[fault])) app.addHook(name, hook);

const address = await app.listen({ port: 0, host: '127.0.0.1' });
process.stdout.write(`listening on ${address}\n`);
await host.start(file);
