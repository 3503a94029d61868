// Reports how far a device is with choosing its convolution algorithms while a step waits for that.
import type { Choices } from '../program/program.js';

const everyMilliseconds = 500;

/**
 * Waits for `result`, the result of `step`. While choices are left to be made for the step, calls `report`
 * with their number, at most twice a second and only when it has changed.
 */
export async function whileChoosing<Result>(
  step: { readonly choices: Choices | undefined },
  result: Promise<Result>,
  report: (choices: Choices) => void,
): Promise<Result> {
  let reported = -1;
  const timer = setInterval(() => {
    const { choices } = step;
    if (choices === undefined || choices.made === choices.of || choices.made === reported) return;
    reported = choices.made;
    report(choices);
  }, everyMilliseconds);
  try {
    return await result;
  } finally {
    clearInterval(timer);
  }
}
