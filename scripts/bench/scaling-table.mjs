// Formats the measured points of the scaling benchmark as a table, for a terminal and in Markdown.
import { latencyLine } from './machine.mjs';
import { mostTimes } from './scaling-points.mjs';

/** What is measured of each point, in the order of the columns. */
export const measures = ['training step', 'forward', 'sampling'];
export const factorTitles = {
  batch: 'batch size',
  channels: 'channels',
  side: 'image side',
  levels: 'levels',
  threads: 'threads',
};

/** Returns the head and the rows of a table of the points of one factor, all of them strings. */
function tableOf(points, factor) {
  const rows = points
    .filter((point) => point.factor === factor)
    .map((point) => {
      const { architecture, value, batch, side, leftOut } = point;
      const place = [`${architecture}, ${value}`, `${batch} of ${side}×${side}`];
      if (leftOut !== undefined) return [...place, `left out: ${leftOut}`, '', '', ''];
      return [...place, ...measures.map((name) => timeCell(point.measures[name])), memoryCell(point.memory)];
    });
  return [[factorTitles[factor], 'images of a batch', ...measures, 'memory'], ...rows];
}

function timeCell(measurement) {
  if (measurement === undefined) return '–';
  const { milliseconds, rate, times } = measurement;
  const slow = times > mostTimes ? ` (${times.toFixed(1)}×)` : '';
  return `${milliseconds.toFixed(milliseconds < 100 ? 1 : 0)} ms, ${rate.toFixed(0)}${slow}`;
}

function memoryCell({ resident, ratio }) {
  return `${(resident / 1e6).toFixed(0)} MB, ${ratio.toFixed(2)}`;
}

/** Returns all tables as text. The first line says what the cells are. */
export function scalingText({ points, failures, excused, seconds }) {
  const tables = Object.keys(factorTitles).map((factor) => {
    const rows = tableOf(points, factor);
    const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
    return rows
      .map((row) =>
        row
          .map((cell, column) => cell.padEnd(widths[column]))
          .join('  ')
          .trimEnd(),
      )
      .join('\n');
  });
  const list = (title, texts) => (texts.length === 0 ? [] : [`${title}:\n${texts.join('\n')}`]);
  return [
    'times, then live GF/s a thread; resident memory of a training step, then as a multiple of what must live at once',
    ...tables,
    latencyLine(points.map(({ coreToCoreNs }) => coreToCoreNs)),
    ...list('excused', excused),
    ...list('too slow or too large', failures),
    `${failures.length === 0 ? 'all within the bounds' : 'FAILED'}, after ${seconds.toFixed(0)} s`,
  ].join('\n\n');
}

/** Returns all tables in Markdown. */
export function scalingMarkdown({ points }) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return Object.keys(factorTitles)
    .map((factor) => {
      const [title, ...rows] = tableOf(points, factor);
      return [line(title), line(title.map(() => '---')), ...rows.map(line)].join('\n');
    })
    .join('\n\n');
}
