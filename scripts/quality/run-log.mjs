// Reads the metrics of a training run, and shortens them to the log that is kept in the repository.
import { readFileSync } from 'node:fs';

/** Steps up to this one are all kept, so that CI can compare the bits of its own steps with them. */
export const comparedSteps = 1000;
const keptEvery = 100;

/** Reads the lines of a metrics.jsonl or of a shortened log. */
export function readLines(path) {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

/** The lines besides steps that the log keeps. */
const keptTypes = ['epoch', 'validation', 'resume', 'numericsChanged'];

/**
 * Returns the lines of the shortened log: the loss and the norm of the gradient of the first 1,000 steps and of every
 * hundredth after them, what ends an epoch, and where the run was resumed.
 */
export function shortened(lines) {
  return lines.flatMap((line) => {
    const { wallTime: _, perClass: __, ...rest } = line;
    if (keptTypes.includes(line.type)) return [rest];
    const { type, step, nats, gradientNorm } = line;
    const isKept = type === 'step' && (step <= comparedSteps || step % keptEvery === 0);
    return isKept ? [{ type, step, nats, gradientNorm }] : [];
  });
}

/**
 * Returns the minutes from the first step of a run to its end, with validations and samples, without the pauses between its
 * pieces.
 */
export function minutesOf(lines) {
  const seconds = lines.reduce((sum, line, i) => {
    const isPause = i === 0 || line.type === 'resume';
    return isPause ? sum : sum + (line.wallTime - lines[i - 1].wallTime);
  }, 0);
  return seconds / 60;
}

/** Returns how many steps an epoch has: the run's first epoch ends with the last of them. */
export function stepsPerEpoch(lines) {
  return lines.find(({ type }) => type === 'epoch').step;
}

/**
 * Compares the first steps of a run with those of a log. Returns a sentence about the first that differs, or is missing in
 * the run; undefined if all `count` are the same to the last bit.
 */
export function firstDifference(lines, log, count = comparedSteps) {
  const stepsOf = (all) =>
    new Map(all.filter(({ type }) => type === 'step').map((line) => [line.step, line]));
  const [found, expected] = [stepsOf(lines), stepsOf(log)];
  for (let step = 1; step <= count; step += 1) {
    const [one, other] = [found.get(step), expected.get(step)];
    if (one === undefined || other === undefined) return `step ${step} is missing`;
    for (const name of ['nats', 'gradientNorm']) {
      if (!Object.is(one[name], other[name]))
        return `step ${step}: ${name} is ${one[name]}, and ${other[name]} in the log`;
    }
  }
  return undefined;
}
