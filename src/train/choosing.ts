// Tells how far a device is with choosing convolutions while a step waits for that.
import type { Choices } from '../program/program.js';

const everyMilliseconds = 500;

/**
 * Waits for `result`, what a step gives. As long as choices are left to be made for the step, `tell` is called with
 * their number, at most twice a second and only when it has changed.
 */
export async function whileChoosing<Result>(
  step: { readonly choices: Choices | undefined },
  result: Promise<Result>,
  tell: (choices: Choices) => void,
): Promise<Result> {
  let told = -1;
  const timer = setInterval(() => {
    const { choices } = step;
    if (choices === undefined || choices.made === choices.of || choices.made === told) return;
    told = choices.made;
    tell(choices);
  }, everyMilliseconds);
  try {
    return await result;
  } finally {
    clearInterval(timer);
  }
}
