// Decides what summary.json says when a run ends, from this part of the run and from earlier parts of the same step.

type Summary = Readonly<Record<string, unknown>>;

/** The fields that a part of a run cannot measure if it takes no step. */
const measured = [
  'lossOf',
  'nats',
  'bitsPerDim',
  'split',
  'weights',
  'protocol',
  'seconds',
  'imagesPerSecond',
] as const;

/** How this part of the run has ended: the fields that the decision needs. */
export interface EndedPart {
  readonly steps: number;
  readonly stopped: boolean;
  readonly lossOf: string;
  readonly validation?: object | undefined;
  /** Undefined without a test evaluation, null if the evaluation was interrupted or failed. */
  readonly test?: object | null;
}

/**
 * Returns the summary to write; `before` is the summary in the folder, and `news` says whether this part had
 * a step, an epoch or a validation. `complete` is true if the run had already ended as `before` says and this
 * part adds at most a test evaluation: then all else is kept, including times and options. A summary of
 * another step is ignored.
 */
export function summaryOf(
  before: Summary | undefined,
  ended: EndedPart,
  { news }: { news: boolean },
): { written: object; complete: boolean } {
  if (before === undefined || before.steps !== ended.steps) return { written: ended, complete: false };
  if (!news && !ended.stopped && before.stopped === false) {
    const { interrupted: _, ...rest } = before;
    return { written: ended.test ? { ...rest, test: ended.test } : before, complete: true };
  }
  const kept = ended.lossOf === 'none' ? measured.filter((key) => before[key] !== undefined) : [];
  const test = ended.test ?? before.test ?? ended.test;
  return {
    written: {
      ...ended,
      ...Object.fromEntries(kept.map((key) => [key, before[key]])),
      validation: ended.validation ?? before.validation,
      ...(test !== undefined && { test }),
    },
    complete: false,
  };
}
