// Computes from a report how our rates compare with PyTorch's and with the targets, and describes the run in words.

const targets = { eager: 2.5, compiled: 1.7, sampling: 1000 };

/**
 * Returns every measured rate. Training: {architecture, kernels, batch, milliseconds, imagesPerSecond, timesEager,
 * timesCompiled, shareOfMatmul}; sampling: {architecture, batch, milliseconds, imagesPerSecond, timesOneForwardPerPixel}.
 * What was not measured is undefined, and so is the architecture of a plain network.
 */
export function measured({ parts }) {
  const rows = [...parts.values()].flatMap((part) => part.rows);
  const find = (wanted) =>
    rows.find((row) => Object.entries(wanted).every(([name, value]) => row[name] === value));
  const peerTime = (wanted) => find(wanted)?.ms;
  const size = rows.find(({ peer }) => peer === 'matmul');
  const matmulRate = size?.ms === undefined ? undefined : (2 * size.size ** 3) / (size.ms / 1000);
  const rated = rows.filter(({ imagesPerSecond }) => imagesPerSecond !== undefined);
  const training = rated
    .filter((row) => row.training === 'speed')
    .map(({ architecture, kernels, batch, milliseconds, imagesPerSecond, gflopPerImage }) => ({
      architecture,
      kernels,
      batch,
      milliseconds,
      imagesPerSecond,
      timesEager: ratio(peerTime({ peer: 'training', architecture, compiled: false, batch }), milliseconds),
      timesCompiled: ratio(peerTime({ peer: 'training', architecture, compiled: true, batch }), milliseconds),
      shareOfMatmul: ratio(gflopPerImage * 1e9 * imagesPerSecond, matmulRate),
    }))
    .sort((a, b) => byArchitecture(a, b) || a.batch - b.batch);
  const sampling = rated
    .filter((row) => row.sampling === 'speed')
    .map(({ architecture, batch, milliseconds, imagesPerSecond }) => {
      // PyTorch is measured on the first pixels, since every pixel costs the same forward pass.
      const peer = find({ peer: 'sampling', architecture, batch });
      const allPixels = peer?.ms === undefined ? undefined : (peer.ms * peer.ofPixels) / peer.pixels;
      return {
        architecture,
        batch,
        milliseconds,
        imagesPerSecond,
        timesOneForwardPerPixel: ratio(allPixels, milliseconds),
      };
    })
    .sort(byArchitecture);
  return { training, sampling, torch: find({ peer: 'versions' })?.torch, device: deviceOf(rows) };
}

/** Orders plain networks before others. */
function byArchitecture({ architecture: a = '' }, { architecture: b = '' }) {
  return a < b ? -1 : Number(a > b);
}

/** Names what was measured: `training` of a plain network, `gated training` of a gated one. */
export function titleOf(what, { architecture }) {
  return architecture === undefined ? what : `${architecture} ${what}`;
}

/** Returns GPU, precision and cuDNN of the parts' devices, preferring a device with cuDNN. */
function deviceOf(rows) {
  const said = rows.filter(({ gpu }) => gpu !== undefined);
  return said.find(({ cudnn }) => cudnn !== undefined && !cudnn.startsWith('none')) ?? said[0];
}

function ratio(above, below) {
  const value = above / below;
  return Number.isFinite(value) ? value : undefined;
}

/**
 * Compares for each target our best rate over the batch sizes with the other side's best. The targets are those of the
 * plain network. `ratio` is undefined where one side is missing. A run does not fail because it misses a target.
 */
export function reached(rates) {
  const [training, sampling] = [rates.training, rates.sampling].map((rows) =>
    rows.filter(({ architecture }) => architecture === undefined),
  );
  const best = (rows, rateOf) => {
    const rates = rows.map(rateOf).filter(Number.isFinite);
    return rates.length > 0 ? Math.max(...rates) : undefined;
  };
  const against = (rows, times) =>
    ratio(
      best(rows, (row) => row.imagesPerSecond),
      best(rows, (row) => row.imagesPerSecond / row[times]),
    );
  const ratios = {
    eager: against(training, 'timesEager'),
    compiled: against(training, 'timesCompiled'),
    sampling: against(sampling, 'timesOneForwardPerPixel'),
  };
  return Object.entries(targets).map(([name, target]) => ({ name, target, ratio: ratios[name] }));
}

export function number(value, digits = 0) {
  return Number.isFinite(value) ? value.toFixed(digits) : '–';
}

/** Returns the first failure, or without one what ended the part and its last output. */
function why({ failures, reason, output }) {
  const lastLine = output?.trim().split('\n').at(-1);
  return (failures[0] ?? [reason, lastLine].filter(Boolean).join('; last said: ')).slice(0, 200);
}

/** Describes a run on one screen. */
export function summary(report) {
  const results = [...report.parts];
  const withStatus = (status) => results.filter(([, part]) => part.status === status);
  const names = (list) => list.map(([name]) => name).join(', ') || 'none';
  const numbers = measured(report);
  return [
    ...['passed', 'failed', 'timed out', 'cut off', 'left out', 'unfinished']
      .map((status) => [status, withStatus(status)])
      .filter(([status, list]) => list.length > 0 || status === 'failed')
      .map(([status, list]) => `${status}: ${names(list)}`),
    ...['failed', 'timed out', 'cut off']
      .flatMap(withStatus)
      .map(([name, part]) => `  ${name}: ${why(part)}`),
    ...numbers.training.map(
      ({ kernels, batch, milliseconds, imagesPerSecond, timesEager, timesCompiled, shareOfMatmul, ...row }) =>
        `${titleOf('training', row)}, ${kernels} kernels, batch ${batch}: ${number(milliseconds, 3)} ms, ${number(imagesPerSecond)} images/s, ` +
        `${number(timesEager, 2)}× eager, ${number(timesCompiled, 2)}× compiled, ${number(100 * shareOfMatmul)}% of matmul`,
    ),
    ...numbers.sampling.map(
      ({ batch, milliseconds, imagesPerSecond, timesOneForwardPerPixel, ...row }) =>
        `${titleOf('sampling', row)}, batch ${batch}: ${number(milliseconds, 2)} ms, ${number(imagesPerSecond, 1)} images/s, ` +
        `${number(timesOneForwardPerPixel)}× one forward per pixel`,
    ),
    ...reached(numbers)
      .filter(({ ratio }) => ratio !== undefined)
      .map(
        ({ name, target, ratio }) =>
          `target ${name}: ${number(ratio, 2)}× of ${target}×${ratio >= target ? ', met' : ''}`,
      ),
  ].join('\n');
}
