// Runs the page: shows pictures while they are drawn, lets the visitor erase a part, and asks for completions.
import { ClassChoice } from './classes.js';
import { drawingMask, Picture } from './picture.js';
import { ask, healthOf, stream } from './requests.js';

/** The number of completions to ask for. */
const completionCount = 8;
/** The number of small tiles, at least one for each image that is drawn together. */
let drawnCount = 8;

const canvas = /** @type {HTMLCanvasElement} */ (element('canvas'));
const drawButton = /** @type {HTMLButtonElement} */ (element('draw'));
const completeButton = /** @type {HTMLButtonElement} */ (element('complete'));
const label = /** @type {HTMLSelectElement} */ (element('label'));
const temperature = /** @type {HTMLInputElement} */ (element('temperature'));
const guidance = /** @type {HTMLInputElement} */ (element('guidance'));
const speed = /** @type {HTMLInputElement} */ (element('speed'));
const seed = /** @type {HTMLInputElement} */ (element('seed'));

const classes = new ClassChoice(label);
let picture = new Picture(28, 28, 1);
/** Aborts the current action when another one begins. */
let current = new AbortController();

/** @param {string} id */
function element(id) {
  const found = document.getElementById(id);
  if (found === null) throw new Error(`the page has no #${id}`);
  return found;
}

/** @param {string} text @param {'waiting' | 'busy' | 'done' | 'error'} state */
function say(text, state) {
  const status = element('status');
  status.textContent = text;
  status.dataset.state = state;
}

function show() {
  picture.paint(canvas, 28);
  completeButton.disabled = !ready || !picture.hasUnknown();
}

// ── The server

let ready = false;

async function waitForModel() {
  for (;;) {
    const health = await healthOf();
    const waiting = element('waiting');
    if (health.status === 'ready') {
      waiting.hidden = true;
      const { levels, imageSize, channels, condition } = health.model;
      picture = new Picture(imageSize?.height ?? 28, imageSize?.width ?? 28, channels);
      offerClasses(health.model);
      const { name, backend, instructionSet, threads } = health.device;
      const facts = [
        'ready',
        `${picture.height}×${picture.width}, ${levels} levels`,
        ...(condition?.classes === undefined ? [] : [`${condition.classes} classes`]),
        `${name} · ${backend === 'cpu' ? `${instructionSet}, ${threads} ${threads === 1 ? 'thread' : 'threads'}` : backend}`,
      ];
      element('facts').replaceChildren(...facts.map((text) => textElement('li', text)));
      ready = true;
      drawButton.disabled = false;
      return;
    }
    waiting.hidden = false;
    await new Promise((resolve) => setTimeout(resolve, 400));
  }
}

/** @param {{ condition?: { classes?: number, none?: boolean }, classNames?: string[] }} model */
function offerClasses(model) {
  classes.offer(model);
  if (classes.count === 0) return;
  element('guidance-setting').hidden = model.condition?.none !== true;
  drawnCount = Math.max(drawnCount, classes.together);
  element('drawn').style.setProperty('--columns', String(drawnCount));
  element('drawn-by').textContent = 'class';
  showDrawn();
  showClass();
}

/** Says on the buttons which class a picture is drawn and completed as. */
function showClass() {
  const { labels, names } = classes.chosen();
  drawButton.textContent = typeof labels === 'number' ? 'Draw a' : 'Draw';
  const name = names.length > 1 ? 'each' : names[0];
  completeButton.textContent = labels === 'none' ? 'Complete it' : `Complete it as ${name}`;
}

// ── Drawing

async function draw() {
  const signal = begin('drawing');
  if (signal === undefined) return;
  const { labels, names } = classes.chosen();
  const body = { ...settings(), labels, stepsPerFrame: 1 };
  const { height, width, channels } = picture;
  // Images that are drawn together fill in their tiles, and the first of them on the canvas too.
  const tiles =
    names.length > 1 ? names.map((name) => tileOf(new Picture(height, width, channels), name)) : [];
  if (tiles.length > 0) element('drawn').replaceChildren(...tiles);
  signal.addEventListener('abort', showDrawn, { once: true });
  /** @type {{ step: number, steps: number, images: string[] }[]} */
  const frames = [];
  const playing = play(
    () => frames.length,
    (at) => {
      const { step, steps, images } = /** @type {typeof frames[0]} */ (frames[at]);
      const pictures = images.map((text) => Picture.decode(text, { height, width, channels }));
      for (const one of pictures) one.state = drawingMask(one, step, steps);
      tiles.forEach((tile, i) => {
        pictures[i]?.paint(canvasOf(tile), 6);
      });
      picture = /** @type {Picture} */ (pictures[0]);
      say(`step ${step} of ${steps}`, 'busy');
      canvas.dataset.step = String(step);
      show();
    },
    signal,
  );
  const answer = await stream('/sample', body, signal, (frame) => frames.push(frame));
  playing.end();
  await playing.done;
  signal.removeEventListener('abort', showDrawn);
  /** @type {Picture[]} */
  const pictures = answer.images.map((/** @type {string} */ text) => Picture.decode(text, answer));
  picture = /** @type {Picture} */ (pictures[0]).copy();
  show();
  drawn.unshift(...pictures.map((one, i) => ({ picture: one, seed: answer.seed, name: names[i] })));
  drawn.length = Math.min(drawn.length, drawnCount);
  showDrawn();
  say(`drawn from seed ${answer.seed}`, 'done');
}

/** @type {{ picture: Picture, seed: number, name: string | undefined }[]} */
const drawn = [];

function showDrawn() {
  const tiles = drawn.map((one) =>
    tileOf(one.picture, one.name ?? String(one.seed), () => {
      if (begin('ready') === undefined) return;
      picture = one.picture.copy();
      show();
      say(`drawn from seed ${one.seed}`, 'done');
    }),
  );
  element('drawn').replaceChildren(...tiles, ...emptyTiles(drawnCount - tiles.length));
}

// ── Completing

async function complete() {
  const signal = begin('completing');
  if (signal === undefined) return;
  const asked = picture.copy();
  const { height, width } = asked;
  const { labels, names } = classes.chosen();
  const together = names.length > 1;
  const count = together ? names.length : completionCount;
  const copies = (/** @type {string} */ text) => Array.from({ length: count }, () => text);
  const images = copies(asked.encode());
  const answer = await ask(
    '/complete',
    { images, known: copies(asked.encodeKnown()), height, width, labels, ...settings() },
    signal,
  );
  const { nats } = await ask('/log-likelihood', { images: answer.images, height, width, labels }, signal);
  const found = answer.images
    .map((/** @type {string} */ text, /** @type {number} */ i) => ({
      picture: Picture.decode(text, answer).completing(asked),
      nats: /** @type {number} */ (nats[i]),
      name: together ? `${names[i]}: ` : '',
    }))
    .toSorted((/** @type {{nats: number}} */ a, /** @type {{nats: number}} */ b) => a.nats - b.nats);
  await playCompletions(found, asked, signal);
  say(`completed from seed ${answer.seed}`, 'done');
}

/**
 * Shows how all completions were drawn, pixel after pixel. The most likely one is shown on the canvas too.
 * @param {{ picture: Picture, nats: number, name: string }[]} found
 * @param {Picture} asked
 * @param {AbortSignal} signal
 */
async function playCompletions(found, asked, signal) {
  const tiles = found.map(({ picture: one, nats, name }, i) => {
    const tile = tileOf(
      asked,
      `${name}${nats.toFixed(1)} nats${i === 0 && name === '' ? ' · likeliest' : ''}`,
      () => {
        if (begin('ready') === undefined) return;
        picture = one.copy();
        show();
        say('a completion', 'done');
      },
    );
    if (i === 0) tile.classList.add('best');
    return tile;
  });
  element('completions').replaceChildren(...tiles);
  const order = asked.unknownPixels();
  // A step of the sampler draws several pixels, and so does a step here.
  const perStep = Math.max(1, Math.ceil(order.length / 100));
  const steps = Math.ceil(order.length / perStep);
  const playing = play(
    () => steps,
    (at) => {
      const until = order.slice(0, (at + 1) * perStep);
      found.forEach(({ picture: one }, i) => {
        const partial = one.revealed(asked, until, perStep);
        partial.paint(canvasOf(/** @type {HTMLElement} */ (tiles[i])), 6);
        if (i === 0) {
          picture = partial;
          show();
        }
      });
      say(`pixel ${until.length} of ${order.length}`, 'busy');
    },
    signal,
  );
  playing.end();
  await playing.done;
  const best = /** @type {typeof found[0]} */ (found[0]);
  picture = best.picture.copy();
  show();
  found.forEach(({ picture: one }, i) => {
    one.paint(canvasOf(/** @type {HTMLElement} */ (tiles[i])), 6);
  });
}

// ── Shared by drawing and completing

/**
 * Aborts the current action and begins another. Returns undefined if the model is not ready.
 * @param {string} text
 */
function begin(text) {
  if (!ready) return undefined;
  current.abort();
  current = new AbortController();
  say(text, 'busy');
  return current.signal;
}

/** Runs the action of a button and shows its error if it fails. @param {() => Promise<void>} action */
async function run(action) {
  try {
    await action();
  } catch (error) {
    // The visitor began something else.
    if (error instanceof DOMException && error.name === 'AbortError') return;
    // Stop the animation, which would overwrite the message.
    current.abort();
    say(error instanceof Error ? error.message : String(error), 'error');
  }
}

function settings() {
  const chosen = seed.value.trim();
  // The server could choose a seed too, but those of the page are short enough to type.
  const random = Math.floor(Math.random() * 100_000);
  return {
    temperature: Number(temperature.value),
    guidance: Number(guidance.value),
    seed: chosen === '' ? random : Number(chosen),
  };
}

/**
 * Plays an animation at the chosen speed: calls `step` with 0, 1, 2, … up to `available()`, which may still
 * grow. Numbers are skipped if the display is slower than that speed.
 * @param {() => number} available
 * @param {(at: number) => void} step
 * @param {AbortSignal} signal
 */
function play(available, step, signal) {
  let ended = false;
  /** @type {Promise<void>} */
  const done = new Promise((resolve, reject) => {
    let shown = 0;
    let due = 0;
    let before = performance.now();
    const tick = (/** @type {number} */ now) => {
      if (signal.aborted) return reject(signal.reason);
      due += (Math.max(0, now - before) / 1000) * Number(speed.value);
      before = now;
      const next = Math.min(available(), Math.floor(due));
      if (next > shown) step(next - 1);
      shown = Math.max(shown, next);
      due = Math.min(due, available() + 1);
      if (ended && shown >= available()) return resolve();
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  });
  // The caller awaits `done`, but not if the stream failed before. The rejection would then count as
  // unhandled.
  done.catch(() => undefined);
  return {
    done,
    end: () => {
      ended = true;
    },
  };
}

/** @param {string} tag @param {string} text */
function textElement(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** @param {Picture} shown @param {string} text @param {() => void} [onClick] */
function tileOf(shown, text, onClick) {
  const tile = document.createElement('li');
  const button = document.createElement('button');
  const small = document.createElement('canvas');
  shown.paint(small, 6);
  button.append(small);
  button.title = text;
  if (onClick !== undefined) button.addEventListener('click', onClick);
  tile.append(button, textElement('p', text));
  return tile;
}

/** @param {HTMLElement} tile */
function canvasOf(tile) {
  return /** @type {HTMLCanvasElement} */ (tile.querySelector('canvas'));
}

/** @param {number} count */
function emptyTiles(count) {
  return Array.from({ length: count }, () => {
    const tile = document.createElement('li');
    tile.className = 'empty';
    return tile;
  });
}

// ── Erasing and writing

/** @param {PointerEvent} event */
function touch(event) {
  const box = canvas.getBoundingClientRect();
  const column = Math.floor(((event.clientX - box.left) / box.width) * picture.width);
  const row = Math.floor(((event.clientY - box.top) / box.height) * picture.height);
  const tool = /** @type {HTMLInputElement} */ (document.querySelector('[name=tool]:checked')).value;
  // The pen is 2 pixels wide, like the strokes of MNIST, and the eraser 4.
  if (tool === 'erase') picture.erase(row - 1, column - 1, 4);
  else picture.write(row, column, 2);
  show();
}

canvas.addEventListener('pointerdown', (event) => {
  if (begin('erase what you like, then have it completed') === undefined) return;
  canvas.setPointerCapture(event.pointerId);
  say('erase what you like, then have it completed', 'done');
  picture.settle();
  touch(event);
});
canvas.addEventListener('pointermove', (event) => {
  if (!canvas.hasPointerCapture(event.pointerId)) return;
  for (const part of event.getCoalescedEvents?.() ?? [event]) touch(part);
});

element('erase-lower').addEventListener('click', () => {
  if (begin('lower half erased') === undefined) return;
  picture.settle();
  picture.eraseRows(Math.floor(picture.height / 2));
  say('lower half erased', 'done');
  show();
});
element('clear').addEventListener('click', () => {
  if (begin('blank') === undefined) return;
  picture = new Picture(picture.height, picture.width, picture.channels);
  say('write with the pen, erase a part, complete it', 'done');
  show();
});
drawButton.addEventListener('click', () => run(draw));
completeButton.addEventListener('click', () => run(complete));
label.addEventListener('change', showClass);
temperature.addEventListener('input', () => {
  element('temperature-value').textContent = Number(temperature.value).toFixed(2);
});
guidance.addEventListener('input', () => {
  element('guidance-value').textContent = Number(guidance.value).toFixed(2);
});
speed.addEventListener('input', () => {
  element('speed-value').textContent = `${speed.value} steps/s`;
});

element('completions').replaceChildren(...emptyTiles(completionCount));
showDrawn();
show();
await run(waitForModel);
if (ready) await run(draw);
