// Runs the part `plan-cache`, which reads from disk the fastest choice for each convolution: an engine of cuDNN or
// our own kernel.
import { existsSync, readdirSync, readFileSync } from 'node:fs';

export async function planCache({ say }) {
  const folder = `${process.env.PIXELCNN_CACHE}/cudnn`;
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  if (names.length === 0) return say({ leftOut: 'no choice is kept: cuDNN was not in use' });
  for (const name of names) {
    // The lines of a file are format, request, hash, choice and engine, and then the plan.
    const [format, request, , choice, engine] = readFileSync(`${folder}/${name}`, 'latin1').split('\n', 5);
    say(
      request === undefined || choice === undefined
        ? { file: name, holds: format?.slice(0, 500) }
        : { request: request.slice(0, 300), choice: choice.slice(0, 60), engine: engine?.slice(0, 200) },
    );
  }
}
