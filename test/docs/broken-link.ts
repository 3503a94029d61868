// What the check of the API reference must notice: a docstring that refers to something that does not exist.

/** See {@link nothingOfThisName}. */
export function broken(): void {}
