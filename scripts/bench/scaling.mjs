// Measures how time and memory grow with one size of the model, the images or the machine at a time.
import { medianLatency } from './machine.mjs';
import { measureMemory } from './memory.mjs';
import { gflopsOfLayers } from './op-rates.mjs';
import { checkScaling, scalingPoints, withTimes } from './scaling-points.mjs';

/** The time of a whole table. A point that would take longer is left out, and the table says so. */
const defaultLimits = {
  /** How long each measure is repeated, but at least 3 times after a run that is not measured. */
  secondsOfMeasure: 1.5,
  secondsOfPoint: 60,
  seconds: 14 * 60,
};

/**
 * Measures `points` on this device and, where they have other numbers of threads, on others like it. Progress goes to stderr.
 * Returns { seconds, points, failures, excused }: the points as {@link withTimes} returns them, and the sentences of
 * {@link checkScaling}. A point that fails is measured a second time, and the less of both times counts, because whatever
 * else runs on a machine only adds to it.
 */
export async function measureScaling(
  library,
  device,
  points = scalingPoints(device.info.threads),
  limits = defaultLimits,
) {
  const start = performance.now();
  const elapsed = () => (performance.now() - start) / 1000;
  const say = (text) => process.stderr.write(`${elapsed().toFixed(0).padStart(4)} s  ${text}\n`);
  const results = new Map();
  const rates = new Map();
  const measure = async (point, left) => {
    const expected = expectedSeconds(point, rates, limits);
    const refusal = reasonToLeaveOut(expected, elapsed(), limits);
    say(refusal === undefined ? `${nameOf(point)}${left}` : `${nameOf(point)} left out: ${refusal}`);
    if (refusal !== undefined) return { measures: {}, leftOut: refusal };
    return onDevice(library, device, point.threads, (own) => measurePoint(library, own, point, limits));
  };

  const queue = distinct(points).map((point) => ({ ...point, gflops: operationsOf(library, point) }));
  for (const [index, point] of queue.entries()) {
    const rest = queue.slice(index).reduce((sum, other) => sum + expectedSeconds(other, rates, limits), 0);
    const left = index === 0 ? '' : `, about ${rest.toFixed(0)} s left`;
    const result = await measure(point, ` (${index + 1} of ${queue.length}${left})`);
    noteRates(rates, point, result);
    results.set(keyOf(point), result);
  }
  const all = () => withTimes(points.map((point) => ({ ...point, ...results.get(keyOf(point)) })));
  const slow = new Set(checkScaling(all()).failures.map(({ point }) => keyOf(point)));
  for (const point of queue.filter((other) => slow.has(keyOf(other)))) {
    const again = await measure(point, ' again, because it is slow');
    if (again.leftOut === undefined) keepLess(results.get(keyOf(point)), again);
  }
  const measured = all();
  const { failures, excused } = checkScaling(measured);
  const texts = (list) => list.map(({ text }) => text);
  return { seconds: elapsed(), points: measured, failures: texts(failures), excused: texts(excused) };
}

/** Returns the points without those that measure the same again. Those that most factors share come first. */
function distinct(points) {
  const groups = new Map();
  for (const point of points) groups.set(keyOf(point), [...(groups.get(keyOf(point)) ?? []), point]);
  return [...groups.values()].sort((a, b) => b.length - a.length).map(([point]) => point);
}

function keyOf({ architecture, batch, images, channels, side, levels, threads }) {
  return [architecture, batch, images, channels, side, levels, threads].join(' ');
}

function nameOf({ architecture, factor, value }) {
  return `${architecture}, ${factor} ${value}`;
}

function modelOf({ architecture, channels, levels }) {
  return { architecture, hiddenChannels: channels, levels };
}

/**
 * Returns the GFLOP of each measure of a point: the multiply-adds of live weights at pixels, as two operations each. A
 * training step has three times those of the forward pass, less the input gradients of filters that read the image.
 */
function operationsOf(library, point) {
  const { networkOf, parseConfig } = library;
  const config = parseConfig('bench', modelOf(point));
  const { batch, images, side } = point;
  const layers = gflopsOfLayers(library, config, side * side);
  const filters = [...networkOf(config).parameters].flatMap(({ filter }) => filter ?? []);
  const readsImage = new Set(filters.filter(({ c }) => c === config.channels).map(({ name }) => name));
  const sum = (list) => list.reduce((total, [, gflop]) => total + gflop, 0);
  const forward = sum(layers);
  const training = 3 * forward - sum(layers.filter(([name]) => readsImage.has(name)));
  return { 'training step': batch * training, forward: batch * forward, sampling: images * forward };
}

/**
 * Returns how many seconds a point takes at the rates (GF/s a thread) that are known so far. Those of the plain network stand
 * for unknown ones; without any it is 0.
 */
function expectedSeconds({ architecture, gflops, threads }, rates, { secondsOfMeasure }) {
  return Object.entries(gflops).reduce((sum, [measure, gflop]) => {
    const rate = rates.get(`${architecture} ${measure}`) ?? rates.get(`plain ${measure}`);
    if (rate === undefined || gflop === 0) return sum;
    const once = gflop / rate / threads;
    // Each is run once before it is measured, and one more training step tells the memory.
    const more = measure === 'training step' ? 2 * once : once;
    return sum + Math.max(secondsOfMeasure, 3 * once) + more;
  }, 0);
}

function reasonToLeaveOut(expected, elapsed, { secondsOfPoint, seconds }) {
  if (expected > secondsOfPoint)
    return `it would take about ${expected.toFixed(0)} s, more than the ${secondsOfPoint} s of a point`;
  if (elapsed + expected > seconds) return `the ${seconds} s of the table are over`;
  return undefined;
}

/** Notes the rates of the first point of each kind. */
function noteRates(rates, { architecture, threads }, { measures }) {
  for (const [measure, { milliseconds, gflop }] of Object.entries(measures)) {
    const kind = `${architecture} ${measure}`;
    if (!rates.has(kind)) rates.set(kind, (1000 * gflop) / milliseconds / threads);
  }
}

/** Calls `body` with a device of so many threads. */
async function onDevice(library, device, threads, body) {
  if (threads === device.info.threads) return body(device);
  const own = await library.openDevice({ backend: 'cpu', threads });
  try {
    return await body(own);
  } finally {
    await own.dispose();
  }
}

async function measurePoint(library, device, point, { secondsOfMeasure }) {
  const { measureForward, measureSampling, measureTrainingStep } = library;
  const { batch, images, side, gflops } = point;
  const model = modelOf(point);
  const shared = { model, height: side, width: side, seconds: secondsOfMeasure };
  const timings = {
    'training step': await measureTrainingStep(device, { ...shared, batch, algorithm: 'auto' }),
    forward: await measureForward(device, { ...shared, batch, algorithm: 'direct' }),
    ...(images > 0 && { sampling: await measureSampling(device, { ...shared, batch: images }) }),
  };
  const measures = Object.fromEntries(
    Object.entries(timings).map(([name, { milliseconds, repeats }]) => {
      return [name, { milliseconds, repeats, gflop: gflops[name] }];
    }),
  );
  return {
    measures,
    coreToCoreNs: medianLatency(),
    memory: await measureMemory(library, device, model, { batch, side }),
  };
}

/** Keeps the less of two times of each measure. */
function keepLess(result, { measures }) {
  for (const [name, measurement] of Object.entries(measures)) {
    if (measurement.milliseconds < result.measures[name].milliseconds) result.measures[name] = measurement;
  }
}
