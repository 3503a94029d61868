// What summary.json says when a run ends: what this part of the run found out, and of the same step what earlier parts did.

type Summary = Readonly<Record<string, unknown>>;

/** What a part of a run that took no step has not measured. */
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

/** How a part of a run has ended. */
export interface EndedPart {
  readonly steps: number;
  readonly stopped: boolean;
  readonly lossOf: string;
  readonly validation?: object | undefined;
  /** Undefined without a test evaluation, null where it did not end. */
  readonly test?: object | null;
}

/**
 * The summary to write, given `before`, the one that stands in the folder. `complete` says that this one ended as `before`
 * does and has nothing to add but a test evaluation: all else is kept then, times and options included. A summary of
 * another step says nothing of this end.
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
