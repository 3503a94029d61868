// Shows the package: sets up, trains a small model on MNIST on the CPU, evaluates it, draws digits and completes
// half-erased ones.
import { rmSync } from 'node:fs';
import { root, step } from './steps.mjs';

const start = performance.now();
const out = 'demo';
const model = `${out}/model-ema.safetensors`;
const pixelcnn = (title, ...args) => step(title, 'node', ['dist/cli/main.js', ...args], { show: true });
const drawn = ['--model', model, '--seed', '1', '--temperature', '0.85'];

step('set-up', 'node', ['scripts/build/setup.mjs'], { show: true });
rmSync(`${root}${out}`, { recursive: true, force: true });
pixelcnn('training', 'train', '--preset', 'mnist-demo', '--out', out);
pixelcnn('samples', 'sample', ...drawn, '--count', '64', '--out', `${out}/samples.png`);
const halves = ['--images', 'mnist:test', '--count', '12', '--keep', 'top', '--fraction', '0.5'];
pixelcnn('completions', 'complete', ...drawn, ...halves, '--out', `${out}/completions.png`);

process.stdout.write(`
${((performance.now() - start) / 1000).toFixed(0)} s in all. Look at
  ${out}/samples.png       64 digits drawn by the model
  ${out}/completions.png   test digits, their upper halves, and what the model makes of them
  ${out}/curve.svg         the learning curve
The model is ${model}; npx pixelcnn sample --help tells what else it can do.
`);
