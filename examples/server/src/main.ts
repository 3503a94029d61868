// Starts the server: it listens at once, then loads the model, and shuts down cleanly on a signal.
import { parseArgs } from 'node:util';
import { PixelCnnError } from 'pixelcnn';
import { defaultModel, ModelHost } from './model-host.js';
import { buildServer } from './server.js';

const usage = `Usage: node examples/server/dist/main.js [options]

  --model MODEL  a file saved by pixelcnn, or a pretrained model; default ${defaultModel}
  --port N       default 3000; 0 takes any free port
  --host NAME    default 127.0.0.1: this machine only
  --help         this text
`;

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string', default: defaultModel },
    port: { type: 'string', default: '3000' },
    host: { type: 'string', default: '127.0.0.1' },
    help: { type: 'boolean', default: false },
  },
});
if (flags.help) {
  process.stdout.write(usage);
  process.exit(0);
}

const host = new ModelHost();
const app = buildServer(host, { logger: { level: 'warn' } });
const address = await app.listen({ port: Number(flags.port), host: flags.host });
process.stdout.write(`listening on ${address}\n`);

let ending = false;
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, async () => {
    if (ending) process.exit(1);
    ending = true;
    // This waits until the requests in progress were answered.
    await app.close();
    await host[Symbol.asyncDispose]();
    process.exit(0);
  });
}

try {
  await host.start(flags.model);
  process.stdout.write(`ready with ${flags.model}: open ${address} in a browser\n`);
} catch (error) {
  if (!ending) {
    const remedy = error instanceof PixelCnnError && error.remedy ? `\n${error.remedy}` : '';
    process.stderr.write(`no model: ${error instanceof Error ? error.message : error}${remedy}\n`);
    process.exit(1);
  }
}
