// Part `plan-cache`: what was chosen for each convolution of the parts before, cuDNN's engine or our own kernels.
import { existsSync, readdirSync, readFileSync } from 'node:fs';

export async function planCache({ say }) {
  const folder = `${process.env.PIXELCNN_CACHE}/cudnn`;
  const names = existsSync(folder) ? readdirSync(folder).sort() : [];
  if (names.length === 0) return say({ leftOut: 'no choice is kept: cuDNN was not in use' });
  for (const name of names) {
    // Lines: format, request, hash, choice, engine; what follows them is the plan.
    const [format, request, , choice, engine] = readFileSync(`${folder}/${name}`, 'latin1').split('\n', 5);
    say(
      request === undefined || choice === undefined
        ? { file: name, holds: format?.slice(0, 500) }
        : { request: request.slice(0, 300), choice: choice.slice(0, 60), engine: engine?.slice(0, 200) },
    );
  }
}
