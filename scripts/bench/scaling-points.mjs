// Names the sizes that the scaling benchmark measures, and checks that none is much slower than the best.

/** The model and images that every point has, except for the one thing that it varies. */
const common = { batch: 32, channels: 64, side: 28, levels: 256 };
const architectures = ['plain', 'gated'];
/** The pixels of a training batch of 32 images of 28x28, which batches of other sides come near to. */
const pixels = common.batch * common.side * common.side;
/** Larger images are not sampled: the time is that of the pixels, and it would be long. */
const largestSampledSide = 64;
const imagesSampled = 16;

/** The largest time per operation and thread, as a multiple of the best of its kind. */
export const mostTimes = 1.6;
/** The largest ratio of resident memory to what has to live at once. */
export const mostMemory = 1.2;

/** The values of each factor, by architecture. The gated network, whose points come last, has fewer. */
const values = {
  plain: {
    batch: [1, 2, 4, 8, 16, 32, 64, 128, 256],
    channels: [16, 32, 48, 64, 96, 128, 192, 256],
    side: [8, 12, 16, 28, 32, 64, 128, 256],
    levels: [2, 4, 16, 64, 256],
  },
  gated: {
    batch: [1, 4, 32, 128],
    channels: [16, 32, 64, 128],
    side: [8, 16, 28, 64, 128],
    levels: [2, 16, 256],
  },
};

/**
 * The points that may be slower than {@link mostTimes}, with the factor that each may reach and the reason. An entry is for
 * the points of a `factor` whose `values` it lists, for the `measures` that it lists, and for one `architecture` if it names it.
 */
export const exceptions = [
  {
    factor: 'batch',
    values: [1],
    measures: ['sampling'],
    times: 4.5,
    architecture: 'gated',
    reason:
      'a front of one image has few pixels for some 50 ops, so the fixed time of every op and of waiting for threads weighs more',
  },
  {
    factor: 'batch',
    values: [1, 2],
    measures: ['training step'],
    times: 2.6,
    reason: 'packing the weights and the optimizer take as long as for a large batch',
  },
  {
    factor: 'channels',
    values: [16, 32],
    measures: ['sampling'],
    times: 3.8,
    reason:
      'the softmax over 256 levels, no part of which counts, and the fixed time of every op are as long as with 64 channels',
  },
  {
    factor: 'channels',
    values: [16],
    measures: ['training step'],
    times: 2.5,
    reason: 'the softmax over 256 levels, no part of which counts, takes as long as with 64 channels',
  },
  {
    factor: 'side',
    values: [64],
    measures: ['sampling'],
    times: 2.2,
    architecture: 'gated',
    reason:
      'the activations of 16 images do not fit the caches, and the pixels of a front lie far from each other in memory',
  },
];

/**
 * Returns the points { architecture, factor, value, batch, images, channels, side, levels, threads } in the order in which
 * they are measured, for a machine with this number of threads. `images` are drawn at a time by the sampler, 0 for none. The
 * common point is in the list of every factor.
 */
export function scalingPoints(threads) {
  return architectures.flatMap((architecture) => {
    const factors = { ...values[architecture], threads: threadCounts(threads) };
    return Object.entries(factors).flatMap(([factor, list]) => {
      return list.map((value) => point(architecture, factor, value, threads));
    });
  });
}

function point(architecture, factor, value, threads) {
  const sizes = { ...common, threads, [factor]: value };
  if (factor === 'side') sizes.batch = Math.max(1, Math.round(pixels / value ** 2));
  const drawn = factor === 'batch' ? value : imagesSampled;
  return { architecture, factor, value, ...sizes, images: sizes.side > largestSampledSide ? 0 : drawn };
}

/** Returns 1, 2, 4 and so on, and `most`. */
function threadCounts(most) {
  const powers = Array.from({ length: Math.ceil(Math.log2(most)) }, (_, i) => 2 ** i);
  return [...powers, most];
}

/**
 * Adds to each measurement { milliseconds, gflop } of measured points its `rate`, GF/s per thread, and `times`, its time per
 * operation and thread as a multiple of the best of the same architecture and measure. A measured point is a point with its
 * measurements by name in `measures`, and with `memory`.
 *
 * Weights whose tap lies outside the image count as operations, but the algorithm `direct` skips them. Small images therefore
 * seem faster than they are, and the best is that of images of at least the common side.
 */
export function withTimes(points) {
  const best = new Map();
  const rated = points.map((point) => {
    const measures = Object.entries(point.measures).map(([name, measurement]) => {
      const { milliseconds, gflop } = measurement;
      const rate = (1000 * gflop) / milliseconds / point.threads;
      const kind = `${point.architecture} ${name}`;
      if (point.side >= common.side) best.set(kind, Math.max(rate, best.get(kind) ?? 0));
      return [name, { ...measurement, rate }];
    });
    return { ...point, measures };
  });
  return rated.map((point) => {
    const measures = point.measures.map(([name, measurement]) => {
      return [name, { ...measurement, times: best.get(`${point.architecture} ${name}`) / measurement.rate }];
    });
    return { ...point, measures: Object.fromEntries(measures) };
  });
}

/**
 * Checks the points that {@link withTimes} returned. Returns { failures, excused }, which both list { point, text }: the
 * points that are too slow or take too much memory, and those that only an exception of `allowed` lets pass.
 */
export function checkScaling(points, allowed = exceptions) {
  const failures = [];
  const excused = [];
  for (const point of points) {
    const what = `${point.architecture}, ${point.factor} ${point.value}`;
    for (const [measure, { rate, times }] of Object.entries(point.measures)) {
      if (times <= mostTimes) continue;
      const slow = `${what}, ${measure}: ${times.toFixed(2)} times the best time per operation (${rate.toFixed(0)} GF/s a thread)`;
      const exception = allowed.find((other) => isFor(other, point, measure));
      if (exception === undefined) failures.push({ point, text: `${slow}, more than ${mostTimes}` });
      else if (times <= exception.times) excused.push({ point, text: `${slow}: ${exception.reason}` });
      else failures.push({ point, text: `${slow}, more than the ${exception.times} of its exception` });
    }
    if (point.memory === undefined || point.memory.ratio <= mostMemory) continue;
    const ratio = point.memory.ratio.toFixed(2);
    const text = `${what}: ${ratio} times the memory that must live at once, more than ${mostMemory}`;
    failures.push({ point, text });
  }
  return { failures, excused };
}

function isFor({ architecture, factor, values, measures }, point, measure) {
  return (
    (architecture === undefined || architecture === point.architecture) &&
    factor === point.factor &&
    values.includes(point.value) &&
    measures.includes(measure)
  );
}
