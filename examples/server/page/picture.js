// Defines a picture whose pixels may be known or unknown, and paints it on a canvas.

/** The states of a pixel. */
const known = 0;
const unknown = 1;
const completed = 2;
const fresh = 3;

const style = getComputedStyle(document.documentElement);
const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
const paper = colour('paper');
const ink = colour('ink');
const unknownPaper = colour('unknown');
const unknownDot = colour('unknown-dot');
const freshInk = colour('front');
const completedInk = colour('completed');
const completedPaper = colour('completed-paper');

export class Picture {
  /** @param {number} height @param {number} width @param {number} channels 1 or 3 */
  constructor(height, width, channels) {
    this.height = height;
    this.width = width;
    this.channels = channels;
    /** (height, width, channels) */
    this.data = new Uint8Array(height * width * channels);
    /** One of the four states for each pixel. */
    this.state = new Uint8Array(height * width);
  }

  /** @param {string} base64 @param {{ height: number, width: number, channels: number }} size */
  static decode(base64, { height, width, channels }) {
    const picture = new Picture(height, width, channels);
    picture.data = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    return picture;
  }

  encode() {
    return btoa(String.fromCharCode(...this.data));
  }

  /** Encodes one byte for each pixel, which is 0 where the pixel is unknown. */
  encodeKnown() {
    return btoa(String.fromCharCode(...this.state.map((state) => (state === unknown ? 0 : 1))));
  }

  copy() {
    const picture = new Picture(this.height, this.width, this.channels);
    picture.data = this.data.slice();
    picture.state = this.state.slice();
    return picture;
  }

  hasUnknown() {
    return this.state.includes(unknown);
  }

  /** Returns the indices of the unknown pixels, row by row. */
  unknownPixels() {
    return [...this.state.keys()].filter((pixel) => this.state[pixel] === unknown);
  }

  /** Makes completed pixels known ones. */
  settle() {
    this.state = this.state.map((state) => (state === unknown ? unknown : known));
  }

  /** @param {number} row @param {number} column @param {number} size */
  erase(row, column, size) {
    this.#square(row, column, size, unknown, 0);
  }

  /** @param {number} row @param {number} column @param {number} size */
  write(row, column, size) {
    this.#square(row, column, size, known, 255);
  }

  /** @param {number} first */
  eraseRows(first) {
    this.state.fill(unknown, first * this.width);
    this.data.fill(0, first * this.width * this.channels);
  }

  /**
   * @param {number} row @param {number} column @param {number} size
   * @param {number} state @param {number} byte
   */
  #square(row, column, size, state, byte) {
    for (let i = Math.max(0, row); i < Math.min(this.height, row + size); i += 1) {
      for (let j = Math.max(0, column); j < Math.min(this.width, column + size); j += 1) {
        const pixel = i * this.width + j;
        this.state[pixel] = state;
        this.data.fill(byte, pixel * this.channels, (pixel + 1) * this.channels);
      }
    }
  }

  /**
   * Returns this picture as a completion of `asked`: pixels that are unknown there are completed.
   * @param {Picture} asked
   */
  completing(asked) {
    const picture = this.copy();
    picture.state = asked.state.map((state) => (state === unknown ? completed : state));
    return picture;
  }

  /**
   * Returns this completion of `asked` at a moment while it is drawn: of the unknown pixels, only `until` are
   * there, and the last `freshCount` of them are fresh.
   * @param {Picture} asked @param {number[]} until @param {number} freshCount
   */
  revealed(asked, until, freshCount) {
    const picture = this.copy();
    picture.state = asked.state.slice();
    until.forEach((pixel, i) => {
      picture.state[pixel] = i >= until.length - freshCount ? fresh : completed;
    });
    return picture;
  }

  /** Paints the picture, each pixel `cell` wide. @param {HTMLCanvasElement} canvas @param {number} cell */
  paint(canvas, cell) {
    const { width, height } = this;
    if (canvas.width !== width * cell || canvas.height !== height * cell) {
      canvas.width = width * cell;
      canvas.height = height * cell;
    }
    const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
    context.fillStyle = paper;
    context.fillRect(0, 0, canvas.width, canvas.height);
    const gap = cell >= 12 ? 1 : 0;
    for (let pixel = 0; pixel < width * height; pixel += 1) {
      const x = (pixel % width) * cell;
      const y = Math.floor(pixel / width) * cell;
      const side = cell - 2 * gap;
      if (this.state[pixel] === unknown) {
        context.fillStyle = unknownPaper;
        context.fillRect(x + gap, y + gap, side, side);
        const dot = Math.max(1, Math.round(cell / 9));
        context.fillStyle = unknownDot;
        context.fillRect(x + (cell - dot) / 2, y + (cell - dot) / 2, dot, dot);
        continue;
      }
      context.fillStyle = this.#colourOf(pixel);
      context.beginPath();
      context.roundRect(x + gap, y + gap, side, side, gap * 4);
      context.fill();
    }
  }

  /** @param {number} pixel */
  #colourOf(pixel) {
    const state = this.state[pixel];
    const [red = 0, green = red, blue = red] = this.data.slice(
      pixel * this.channels,
      (pixel + 1) * this.channels,
    );
    if (this.channels === 3 && state !== fresh) return `rgb(${red} ${green} ${blue})`;
    const share = Math.round((100 * red) / 255);
    if (state === fresh) return `color-mix(in srgb, ${freshInk} ${35 + 0.65 * share}%, ${paper})`;
    if (state === completed) {
      return `color-mix(in srgb, ${completedInk} ${share}%, ${completedPaper})`;
    }
    return `color-mix(in srgb, ${ink} ${share}%, ${paper})`;
  }
}

/**
 * Returns the states of the pixels after `step` of `steps` of the sampler. It draws the pixel of row i and
 * column j in step j + slope * i, which is several pixels in each step.
 * @param {Picture} picture @param {number} step @param {number} steps
 */
export function drawingMask({ height, width }, step, steps) {
  const slope = height > 1 ? (steps - width) / (height - 1) : 0;
  return Uint8Array.from({ length: height * width }, (_, pixel) => {
    const at = (pixel % width) + slope * Math.floor(pixel / width);
    return at === step - 1 ? fresh : at < step ? known : unknown;
  });
}
