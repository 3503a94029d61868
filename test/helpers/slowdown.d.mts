// Declares the types of slowdown.mjs.
export function slowdown(milliseconds: number): Promise<number>;
