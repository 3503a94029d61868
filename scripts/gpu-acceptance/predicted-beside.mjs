// Prints at the end of a run on a GPU the predicted times beside the measured ones, the ops that lose most first.
import { withPredictions } from './predict.mjs';
import { measured, number, titleOf } from './summary.mjs';

const opsShown = 10;

/** Returns lines to print, none where nothing was measured. */
export function predictedBeside(report) {
  const { training, sampling } = measured(report);
  const whole = withPredictions([
    ...training.map(({ architecture, kernels, batch, milliseconds }) => ({
      what: 'training step',
      ...modelOf(architecture),
      batch,
      convolutions: convolutionsOf(kernels),
      milliseconds,
    })),
    ...sampling.map(({ architecture, batch, milliseconds }) => ({
      what: 'sampling',
      ...modelOf(architecture),
      batch,
      milliseconds,
    })),
  ]);
  const traces = [...report.parts.values()]
    .flatMap(({ rows }) => rows)
    .filter(({ trace, ops }) => trace !== undefined && ops !== undefined);
  const ops = traces.flatMap(({ trace, architecture, batch, ops }) => {
    const rows = [...sumsOf(ops)].map(([label, milliseconds]) => ({
      what: 'op',
      ...modelOf(architecture),
      label,
      batch,
      convolutions: convolutionsOf(trace),
      milliseconds,
    }));
    const excess = ({ milliseconds, predicted }) => milliseconds - predicted;
    return withPredictions(rows)
      .toSorted((a, b) => excess(b) - excess(a))
      .slice(0, opsShown);
  });
  const lines = [...whole, ...ops].map(
    ({ what, architecture, label, batch, convolutions, milliseconds, predicted, ratio }) =>
      `${[titleOf(what, { architecture }), label, convolutions].filter(Boolean).join(', ')}, batch ${batch}: ${number(milliseconds, 3)} ms, ` +
      `predicted ${number(predicted, 3)} ms, ratio ${number(ratio, 2)}`,
  );
  return lines.length === 0 ? '' : ['measured beside predicted, on an H100:', ...lines].join('\n');
}

/** Returns the fields of a row by which `predict.mjs` and a reader know its network. */
function modelOf(architecture) {
  return architecture === undefined ? {} : { architecture, model: { architecture } };
}

/** Adds up the times of ops of one label: many filters are packed by several ops. */
function sumsOf(ops) {
  const sums = new Map();
  for (const [label, milliseconds] of ops) sums.set(label, (sums.get(label) ?? 0) + milliseconds);
  return sums;
}

function convolutionsOf(kernels) {
  return kernels === 'own' ? 'own' : 'cudnn';
}
