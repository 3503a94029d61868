// Defines how the layers of a network declare its parameters: names, shapes, masks and initial values.
import { check } from '../errors.js';
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

  /** Declares a parameter. @throws PixelCnnError ERR_PROGRAM for a name that another layer has taken. */
  add(declaration: Declaration): void {
    const { name } = declaration;
    check(!this.#byName.has(name), 'ERR_PROGRAM', () => `two layers declare the parameter '${name}'`);
    this.#byName.set(name, declaration);
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
