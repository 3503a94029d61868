// Reports how far work over many images is, at most twice a second.

/** Reports how far an evaluation or a classification is. */
export interface ProgressEvent {
  readonly type: 'progress';
  /** Images that are done, out of `of`; every draw, and every class, counts its images again. */
  readonly done: number;
  readonly of: number;
}

const everyMilliseconds = 500;

/** Passes numbers on to `report`: the first after half a second, then at most two a second. */
export function twiceASecond(report: (done: number, of: number) => void): (done: number, of: number) => void {
  let reportedAt = performance.now();
  return (done, of) => {
    const now = performance.now();
    if (now - reportedAt < everyMilliseconds) return;
    reportedAt = now;
    report(done, of);
  };
}
