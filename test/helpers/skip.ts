// Leaves out a test that cannot run here, and prints the reason.

/** Prints why tests are skipped; returns whether they are. For `describe.skipIf`. */
export function skipAloud(what: string, reason: string | undefined): boolean {
  if (reason !== undefined) console.warn(`SKIPPED ${what}: ${reason}`);
  return reason !== undefined;
}
