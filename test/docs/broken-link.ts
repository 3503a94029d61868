// Has a docstring that refers to something that does not exist: the check of the API reference must notice it.

/** See {@link nothingOfThisName}. */
export function broken(): void {}
