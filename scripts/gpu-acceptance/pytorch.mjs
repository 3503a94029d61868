// Runs the parts `pytorch-*`: the same models in PyTorch on the same GPU (scripts/gpu-acceptance/peer.py). What
// PyTorch cannot do is not our failure: the part is left out and says why.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { root } from '../steps.mjs';
import { aboutNetwork, networks, tinyNetworks } from './networks.mjs';

export async function pytorch({
  architecture = 'plain',
  compiled,
  batches,
  sampling,
  python,
  emulated,
  say,
}) {
  const network = aboutNetwork(architecture);
  const ask = startPeer(python);
  const problem = emulated
    ? { side: 5, seconds: 0.05, matmul: 64, pixels: 3, batches: [1, 2], sampling: [1, 2] }
    : { side: 28, seconds: 0.5, matmul: 8192, pixels: 20, batches, sampling };
  const model = { channels: 1, ...(emulated ? tinyNetworks : networks)[architecture] };
  const { side, seconds, pixels } = problem;
  const requests = [
    [{ peer: 'versions' }, { op: 'versions' }],
    [
      { peer: 'matmul', size: problem.matmul },
      { op: 'matmul', size: problem.matmul },
    ],
    ...problem.batches.map((batch) => [
      { peer: 'training', ...network, compiled, batch },
      { op: 'train', compiled, model, side, batch, seconds },
    ]),
    ...(compiled ? [] : problem.sampling).map((batch) => [
      { peer: 'sampling', ...network, batch, pixels, ofPixels: side * side },
      { op: 'sample', model, side, batch, pixels },
    ]),
  ];
  for (const [about, request] of requests) {
    const { error, ...answer } = await ask(request);
    if (error === undefined) say({ ...about, ...answer });
    else say({ ...about, leftOut: `${Object.values(about).join(' ')}: ${error}` });
    if (error !== undefined && request.op === 'versions') break;
  }
}

/** Starts PyTorch in a separate process. Without PyTorch every answer is an error that says why. */
function startPeer(python) {
  const child = spawn(python, ['-W', 'ignore', `${root}scripts/gpu-acceptance/peer.py`], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let complaint = '';
  child.stderr.on('data', (data) => {
    complaint = (complaint + data).slice(-500);
  });
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve({ error: `no PyTorch: ${error.message}` }));
    child.on('exit', () => resolve({ error: `no PyTorch: ${complaint.trim().split('\n').at(-1)}` }));
  });
  child.stdin.on('error', () => undefined); // `ended` reports it
  const answers = createInterface(child.stdout)[Symbol.asyncIterator]();
  return async (message) => {
    child.stdin.write(`${JSON.stringify(message)}\n`);
    const next = answers.next().then(({ value, done }) => (done ? ended : JSON.parse(value)));
    return Promise.race([next, ended]);
  };
}
