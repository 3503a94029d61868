// The demo: sets up, trains a small model on MNIST on the CPU, evaluates it, draws digits and completes half-erased ones.
import { existsSync, rmSync } from 'node:fs';
import { root, step } from './steps.mjs';

const start = performance.now();
step('set-up', 'node', ['scripts/setup.mjs'], { show: true });

const out = 'demo';
const cli = (...args) => ['dist/cli/main.js', ...args];
if (existsSync(`${root}${out}`)) rmSync(`${root}${out}`, { recursive: true });
step('training', 'node', cli('train', '--preset', 'mnist-demo', '--out', out), { show: true });
const model = `${out}/model-ema.safetensors`;
step(
  'samples',
  'node',
  cli('sample', '--model', model, '--count', '64', '--seed', '1', '--out', `${out}/samples.png`),
  {
    show: true,
  },
);
const images = ['--images', 'mnist:test', '--count', '16', '--keep', 'top', '--fraction', '0.5'];
step(
  'completions',
  'node',
  cli('complete', '--model', model, ...images, '--seed', '1', '--out', `${out}/completions.png`),
  {
    show: true,
  },
);
process.stdout.write(`
${((performance.now() - start) / 1000).toFixed(0)} s in all. Look at
  ${out}/samples.png       64 digits drawn by the model
  ${out}/completions.png   test digits, their upper halves, and what the model makes of them
  ${out}/curve.svg         the learning curve
The model is ${model}; npx pixelcnn sample --help tells what else it can do.
`);
