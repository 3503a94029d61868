// Prints at the end of a run on a GPU the predicted times beside the measured ones, the ops that lose most first.
import { withPredictions } from './predict.mjs';
import { measured, number } from './summary.mjs';

const opsShown = 10;

/** Returns lines to print, none where nothing was measured. */
export function predictedBeside(report) {
  const { training, sampling } = measured(report);
  const whole = withPredictions([
    ...training.map(({ kernels, batch, milliseconds }) => ({
      what: 'training step',
      batch,
      convolutions: convolutionsOf(kernels),
      milliseconds,
    })),
    ...sampling.map(({ batch, milliseconds }) => ({ what: 'sampling', batch, milliseconds })),
  ]);
  const traces = [...report.parts.values()]
    .flatMap(({ rows }) => rows)
    .filter(({ trace, ops }) => trace !== undefined && ops !== undefined);
  const ops = traces.flatMap(({ trace, batch, ops }) => {
    const rows = ops.map(([label, milliseconds]) => ({
      what: 'op',
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
    ({ what, label, batch, convolutions, milliseconds, predicted, ratio }) =>
      `${[what, label, convolutions].filter(Boolean).join(', ')}, batch ${batch}: ${number(milliseconds, 3)} ms, ` +
      `predicted ${number(predicted, 3)} ms, ratio ${number(ratio, 2)}`,
  );
  return lines.length === 0 ? '' : ['measured beside predicted, on an H100:', ...lines].join('\n');
}

function convolutionsOf(kernels) {
  return kernels === 'own' ? 'own' : 'cudnn';
}
