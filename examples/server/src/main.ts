// Starts the server: it listens at once, then loads or trains the model, and shuts down cleanly on a signal.
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { ModelHost, type TrainingProgress } from './model-host.js';
import { buildServer } from './server.js';

const usage = `Usage: node examples/server/dist/main.js [options]

  --model FILE   a model saved by pixelcnn; without it a small one is trained on MNIST at the first start
  --port N       default 3000; 0 takes any free port
  --host NAME    default 127.0.0.1: this machine only
  --help         this text
`;

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
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

const trained = fileURLToPath(new URL('../.cache/mnist.safetensors', import.meta.url));
try {
  await host.start(flags.model ?? trained, {
    trainIfMissing: flags.model === undefined,
    onProgress: showProgress,
  });
  process.stdout.write(`ready: open ${address} in a browser\n`);
} catch (error) {
  if (!ending) {
    process.stderr.write(`no model: ${error instanceof Error ? error.message : error}\n`);
    process.exit(1);
  }
}

/**
 * Shows the progress of training in one line that is rewritten on a terminal, and in a new line now and then
 * elsewhere.
 */
function showProgress({ step, totalSteps, nats }: TrainingProgress): void {
  const last = step === totalSteps;
  if (step % (process.stdout.isTTY ? 10 : 100) !== 0 && !last) return;
  const percent = Math.floor((100 * step) / totalSteps);
  const line = `training on MNIST: ${percent} % (step ${step} of ${totalSteps}, ${nats.toFixed(1)} nats)`;
  process.stdout.write(process.stdout.isTTY ? `\r${line}  ${last ? '\n' : ''}` : `${line}\n`);
}
