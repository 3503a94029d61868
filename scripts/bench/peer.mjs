// Starts PyTorch as the peer of a benchmark, and checks that both compute the same network before anything is timed.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('peer.py', import.meta.url));

/**
 * Starts peer.py with this Python. `request` sends one request and resolves with the answer; it rejects if the program has
 * ended.
 */
export async function startPeer(python, threads) {
  const child = spawn(python, ['-W', 'ignore', program, String(threads)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const request = async (message) => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error('the PyTorch peer ended unexpectedly');
    return JSON.parse(value);
  };
  return { versions: await request({ op: 'versions' }), request, end: () => child.stdin.end() };
}

/**
 * Loads one network, with random weights and biases, into the peer for each kind of { precision, layout }, and compares
 * -log p of two images with ours. `library` has what is needed of pixelcnn.
 * @throws Error if the peer computes another network: its times would say nothing.
 */
export async function checkSameNetwork(library, device, options, peer, kinds) {
  const { PixelCNN, encodeModel } = library;
  const [count, side] = [2, 28];
  const folder = mkdtempSync(join(tmpdir(), 'pixelcnn-bench-'));
  const file = join(folder, 'model.safetensors');
  const initial = await PixelCNN.create(device, { ...options, seed: 1 });
  const { config } = initial;
  const parameters = await initial.parameters();
  initial.dispose();
  // Initial biases are 0 and initial logits small; with these a part that is missing or misplaced changes the result.
  for (const [name, { data }] of parameters) {
    for (let i = 0; i < data.length; i += 1)
      data[i] = name.endsWith('.bias') ? 0.2 * Math.sin(i + 1) : 1.5 * data[i];
  }
  const bytes = encodeModel({ config, imageSize: undefined, weights: 'raw', parameters });
  const model = await PixelCNN.load(device, bytes);
  try {
    writeFileSync(file, bytes);
    const levels = Uint8Array.from(
      { length: count * side * side },
      (_, i) => (i * 37 + (i >> 5)) % config.levels,
    );
    const images = { data: levels, values: 'levels', count, height: side, width: side, channels: 1 };
    const { nats } = await model.logLikelihood(images);
    for (const kind of kinds) {
      const request = { op: 'load', file, ...kind, levels: [...levels], side };
      const { nats: theirs } = await peer.request(request);
      checkNats(nats, theirs, kind);
    }
  } finally {
    model.dispose();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The largest relative difference of -log p that rounding explains. bfloat16 keeps 8 bits. */
const tolerance = { f32: 2e-5, bf16: 2e-2 };

function checkNats(ours, theirs, { precision, layout }) {
  for (const [i, nats] of ours.entries()) {
    const difference = Math.abs(theirs[i] - nats) / nats;
    if (difference <= tolerance[precision]) continue;
    throw new Error(
      `PyTorch (${precision}, ${layout}) computes another network: image ${i} has ${theirs[i]} nats there and ${nats} here`,
    );
  }
}
