// Offers the classes of a model to the visitor, and reads which of them is chosen.

/** The most classes of which one each is drawn together, in a row of small tiles. */
const mostTogether = 12;

export class ClassChoice {
  #select;
  /** @type {string[]} */
  #names = [];

  /** @param {HTMLSelectElement} select It stays hidden for a model without classes. */
  constructor(select) {
    this.#select = select;
  }

  /** @param {{ condition?: { classes?: number, none?: boolean }, classNames?: string[] }} model */
  offer({ condition, classNames }) {
    if (condition?.classes === undefined) return;
    this.#names = Array.from(
      { length: condition.classes },
      (_, label) => classNames?.[label] ?? String(label),
    );
    const options = this.#names.map((name, label) => new Option(name, String(label)));
    if (this.together > 0) options.unshift(new Option('one of each', 'each'));
    // Where a class is called 'none', the server draws that one.
    if (condition.none && !this.#names.includes('none')) options.push(new Option('any', 'none'));
    this.#select.replaceChildren(...options);
    this.#select.hidden = false;
  }

  /** The number of classes. */
  get count() {
    return this.#names.length;
  }

  /** The number of images of one of each; 0 where there are too many classes for that. */
  get together() {
    return this.count <= mostTogether ? this.count : 0;
  }

  /**
   * Returns the classes as a request gives them, and their names: that of all images, or that of each of several. Without
   * classes there are no labels and no names.
   * @returns {{ labels?: number | 'none' | number[], names: string[] }}
   */
  chosen() {
    const { value, selectedOptions } = this.#select;
    if (this.count === 0) return { names: [] };
    if (value === 'each') return { labels: [...this.#names.keys()], names: this.#names };
    const labels = value === 'none' ? value : Number(value);
    return { labels, names: [/** @type {HTMLOptionElement} */ (selectedOptions[0]).text] };
  }
}
