// Computes the learning rate of a step: linear warm-up, then constant, cosine or stepwise decay.

export interface Schedule {
  readonly schedule: 'constant' | 'cosine' | 'step';
  readonly learningRate: number;
  /** A number of steps or, if below 1, a share of the run. */
  readonly warmupSteps: number;
  readonly decaySteps: number;
  readonly decayFactor: number;
}

/** Returns the steps of warm-up in a run of `totalSteps`. */
export function warmupStepsOf({ warmupSteps }: Pick<Schedule, 'warmupSteps'>, totalSteps: number): number {
  return warmupSteps < 1 ? Math.round(warmupSteps * totalSteps) : warmupSteps;
}

/**
 * Returns the learning rate of step `step`, counted from 0, in a run of `totalSteps`. The cosine schedule falls
 * to 0 (Loshchilov and Hutter 2017).
 */
export function learningRateAt(schedule: Schedule, step: number, totalSteps: number): number {
  const { learningRate } = schedule;
  const warmupSteps = warmupStepsOf(schedule, totalSteps);
  if (step < warmupSteps) return (learningRate * (step + 1)) / warmupSteps;
  const after = step - warmupSteps;
  switch (schedule.schedule) {
    case 'constant':
      return learningRate;
    case 'cosine': {
      const progress = Math.min(after / Math.max(totalSteps - warmupSteps, 1), 1);
      return (learningRate * (1 + Math.cos(Math.PI * progress))) / 2;
    }
    case 'step':
      return learningRate * schedule.decayFactor ** Math.floor(after / schedule.decaySteps);
  }
}
