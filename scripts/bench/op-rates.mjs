// Traces a forward pass and a training step, and reports how fast each convolution ran and where time is lost.

/** The masked convolution ops, by the name that a trace gives them. All compute as much. */
const convolutions = ['maskedConv2d', 'maskedConv2dBackwardInput', 'maskedConv2dBackwardWeight'];
const headOp = 'softmaxCrossEntropy';

/**
 * Traces `repeats` runs of each, the forward pass with `direct` and the step with `auto`, which uses Winograd. Returns
 * { forward, training }, each a list of { label, op, count, milliseconds, gflop }: ops of
 * one kind and size together, with the number of them, their least times added up, and the multiply-adds of their live
 * weights, as two operations each (0 for an op that is no convolution). `library` has what is needed of pixelcnn.
 */
export async function traceOps(library, device, options, { batch, side, repeats }) {
  const { PixelCNN, TrainingStep, trainSchema } = library;
  const model = await PixelCNN.create(device, options);
  const { config } = model;
  const data = Uint8Array.from({ length: batch * side * side * config.channels }, (_, i) => (i * 37) & 255);
  const images = { data, count: batch, height: side, width: side, channels: config.channels };
  const settings = { height: side, width: side, dynamic: false, algorithm: 'auto' };
  const step = await TrainingStep.create(model.internals(), settings);
  const hyper = trainSchema.parse({});
  const gflops = gflopsOfLayers(library, config, batch * side * side);
  const trace = async (run) => {
    const traces = [];
    // The first run is not measured.
    for (let repeat = 0; repeat <= repeats; repeat += 1) traces.push(await run());
    return leastTimes(traces.slice(1));
  };
  try {
    const forward = await trace(() => model.trace(images, { algorithm: 'direct' }));
    const training = await trace(() => step.trace({ bytes: data, count: batch }, hyper));
    // In training the op of the head also computes the gradients of its input and of its weights.
    return {
      forward: groupOps(withGflops(forward, gflops, 1)),
      training: groupOps(withGflops(training, gflops, 3)),
    };
  } finally {
    step.dispose();
    model.dispose();
  }
}

/** Returns the least time of each op of several traces, because whatever else runs on a machine only adds to it. */
export function leastTimes(traces) {
  return traces[0].map(({ label, op }, at) => {
    return { label, op, milliseconds: Math.min(...traces.map((trace) => trace[at].milliseconds)) };
  });
}

/** Adds to each op the operations of its layer, by [layer, GFLOP] of one direction. The last layer is the head. */
export function withGflops(ops, gflops, headFactor) {
  const ofLayer = new Map(gflops);
  const [, ofHead] = gflops.at(-1);
  return ops.map((op) => {
    if (op.op === headOp) return { ...op, gflop: headFactor * ofHead };
    if (!convolutions.includes(op.op)) return { ...op, gflop: 0 };
    const layer = op.label.replace(/ (forward|(input|weight) gradient)$/, '');
    const gflop = ofLayer.get(layer);
    if (gflop === undefined) throw new Error(`the label '${op.label}' names no layer`);
    return { ...op, gflop };
  });
}

/** Adds up ops whose labels differ only in the number of a layer, from layer 1 on: the first layer has other sizes. */
export function groupOps(ops) {
  const groups = new Map();
  for (const { label, op, milliseconds, gflop } of ops) {
    const kind = label.replace(/\.[1-9]\d*\b/, '.*');
    const group = groups.get(kind) ?? { label: kind, op, count: 0, milliseconds: 0, gflop: 0 };
    group.count += 1;
    group.milliseconds += milliseconds;
    group.gflop += gflop;
    groups.set(kind, group);
  }
  return [...groups.values()];
}

/** Returns [layer, GFLOP of one direction] for each layer, the head last. */
export function gflopsOfLayers({ networkOf, countLiveWeights }, config, pixels) {
  return [...networkOf(config).parameters].flatMap(({ filter }) => {
    return filter === null ? [] : [[filter.name, (2 * pixels * countLiveWeights(filter)) / 1e9]];
  });
}

/** Adds to each op its share of the peak, and its loss: the time beyond that of its operations at the peak, in ms. */
export function withLosses(ops, peakGflops) {
  return ops.map((op) => {
    const ideal = (1000 * op.gflop) / peakGflops;
    return { ...op, ofPeak: ideal / op.milliseconds, loss: op.milliseconds - ideal };
  });
}

/** Returns the share of the peak of all convolutions together, those of the head not included. */
export function convolutionsOfPeak(ops, peakGflops) {
  const these = ops.filter(({ op }) => convolutions.includes(op));
  const total = (key) => these.reduce((sum, op) => sum + op[key], 0);
  return (1000 * total('gflop')) / peakGflops / total('milliseconds');
}

/** Returns the ops that lose most time, the largest loss first. */
export function largestLosses(ops, count = 3) {
  return ops.toSorted((a, b) => b.loss - a.loss).slice(0, count);
}

/** Formats a table of ops with their times and rates. */
export function rateTable(title, ops, peakGflops) {
  const rows = withLosses(ops, peakGflops);
  const percent = (share) => `${(100 * share).toFixed(0)}%`;
  const line = ({ label, count, milliseconds, gflop, ofPeak, loss }) =>
    [
      `${count} x`.padStart(5),
      label.padEnd(40),
      `${milliseconds.toFixed(3)} ms`.padStart(12),
      gflop > 0 ? `${gflop.toFixed(3)} GFLOP`.padStart(14) : ''.padStart(14),
      (gflop > 0 ? percent(ofPeak) : '').padStart(6),
      `loss ${loss.toFixed(3)} ms`.padStart(16),
    ].join(' ');
  const losses = largestLosses(rows).map(
    ({ label, loss, ofPeak, gflop }) =>
      `${label} ${loss.toFixed(2)} ms${gflop > 0 ? ` (${percent(ofPeak)} of the peak)` : ''}`,
  );
  return [
    `${title}, op by op, against ${peakGflops.toFixed(0)} GF/s:`,
    ...rows.map(line),
    `convolutions together: ${percent(convolutionsOfPeak(ops, peakGflops))} of the FMA peak`,
    `largest losses: ${losses.join('; ')}`,
    ...(rows.some(({ ofPeak }) => ofPeak > 1)
      ? [
          'more than 100%: Winograd needs fewer operations, or the machine was busy while the peak was measured',
        ]
      : []),
  ].join('\n');
}
