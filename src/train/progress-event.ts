// How far work over many images is, told twice a second at most.

/** How far an evaluation is. */
export interface ProgressEvent {
  readonly type: 'progress';
  /** Images that are done, those of every draw counted, and all of them. */
  readonly done: number;
  readonly of: number;
}

const everyMilliseconds = 500;

/** Passes numbers on to `tell`: the first after half a second, then two a second at most. */
export function twiceASecond(tell: (done: number, of: number) => void): (done: number, of: number) => void {
  let toldAt = performance.now();
  return (done, of) => {
    const now = performance.now();
    if (now - toldAt < everyMilliseconds) return;
    toldAt = now;
    tell(done, of);
  };
}
