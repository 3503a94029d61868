// Defines how the layers of a network declare its parameters: names, shapes, masks and initial values.

import { elements } from '../program/tensor.js';
import { countLiveWeights, type Filter } from './window.js';

/** One parameter of a network. */
export interface Declaration {
  /** PyTorch's name, e.g. `net.0.weight`. */
  readonly name: string;
  readonly shape: readonly number[];
  /** The filter whose mask holds for this weight; null for a parameter whose values are all live. */
  readonly filter: Filter | null;
  /** Initial values are uniform in ±bound, and 0 if it is 0. */
  readonly bound: number;
}

/** The parameters of a network, in the order in which its layers declare them. */
export class Declarations implements Iterable<Declaration> {
  readonly #byName = new Map<string, Declaration>();

  /** Declares a parameter. Throws an Error if the name is taken, which is a mistake in the network. */
  add(declaration: Declaration): void {
    if (this.#byName.has(declaration.name)) throw new Error(`two layers declare '${declaration.name}'`);
    this.#byName.set(declaration.name, declaration);
  }

  [Symbol.iterator](): Iterator<Declaration> {
    return this.#byName.values();
  }
}

/** Counts the values of parameters, those under the masks included. */
export function totalParameters(declarations: Iterable<Declaration>): number {
  return [...declarations].reduce((sum, { shape }) => sum + elements(shape), 0);
}

/** Counts the values of parameters that no mask sets to zero. */
export function liveParameters(declarations: Iterable<Declaration>): number {
  return [...declarations].reduce(
    (sum, { shape, filter }) => sum + (filter === null ? elements(shape) : countLiveWeights(filter)),
    0,
  );
}
