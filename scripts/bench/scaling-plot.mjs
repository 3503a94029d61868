// Writes docs/scaling.svg, a plot of a report of `npm run bench -- --scaling`, and the tables of docs/scaling.md.
// Usage: node scripts/bench/scaling-plot.mjs scripts/bench/reports/NAME.json
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fail, root } from '../steps.mjs';
import { latencyLine, machineLines } from './machine.mjs';
import { factorTitles, measures, scalingMarkdown } from './scaling-table.mjs';

const panel = { width: 330, height: 190, left: 56, top: 46, right: 18, bottom: 52 };
const columns = 2;
const legendHeight = 64;

const axisTitles = {
  batch: 'images in a batch',
  channels: 'hidden channels',
  side: 'pixels a side',
  levels: 'levels of a pixel',
  threads: 'CPU threads',
};

/** Returns the plot as SVG: one panel per factor, with GF/s per thread of each measure over the values of the factor. */
export function scalingPlot({ scaling }) {
  const factors = Object.keys(factorTitles);
  const most = niceMost(Math.max(0, ...scaling.points.flatMap((point) => ratesOf(point))));
  const rows = Math.ceil(factors.length / columns);
  const [cellWidth, cellHeight] = [
    panel.left + panel.width + panel.right,
    panel.top + panel.height + panel.bottom,
  ];
  const [width, height] = [columns * cellWidth, rows * cellHeight + legendHeight];
  const panels = factors.map((factor, index) => {
    const [x, y] = [(index % columns) * cellWidth, legendHeight + Math.floor(index / columns) * cellHeight];
    return `<g transform="translate(${x} ${y})">${panelOf(scaling.points, factor, most)}</g>`;
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title">`,
    '<title id="title">Live GF/s per thread over batch size, channels, image side, levels and threads</title>',
    `<style>${style}</style>`,
    `<rect class="page" width="${width}" height="${height}"/>`,
    legend(new Set(scaling.points.map(({ architecture }) => architecture))),
    ...panels,
    '</svg>',
    '',
  ].join('\n');
}

/** Colours that can be told apart with any kind of colour vision (Okabe & Ito 2008), lighter on a dark page. */
const style = `
text { font: 12px system-ui, sans-serif; fill: #24292f }
text.title { font-weight: 600; font-size: 13px }
.page { fill: #fff }
.frame { fill: none; stroke: #8c959f }
.grid { stroke: #d0d7de }
polyline { fill: none; stroke-width: 2 }
.m0 { stroke: #0072b2; fill: #0072b2 } .m1 { stroke: #b85c00; fill: #b85c00 } .m2 { stroke: #00795a; fill: #00795a }
polyline.m0, polyline.m1, polyline.m2 { fill: none }
.gated { stroke-dasharray: 5 4 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .page { fill: #0d1117 } .frame { stroke: #6e7681 } .grid { stroke: #30363d }
.m0 { stroke: #56b4e9; fill: #56b4e9 } .m1 { stroke: #e69f00; fill: #e69f00 } .m2 { stroke: #2bc79a; fill: #2bc79a }
}
`;

function legend(architectures) {
  const entries = measures.map((name, index) => {
    const [x, line] = [panel.left + index * 150, `<line class="m${index}" x1="0" x2="26" stroke-width="2"/>`];
    return `<g transform="translate(${x} 22)">${line}${mark(index, 13, 0)}<text x="34" y="4">${name}</text></g>`;
  });
  const lines = [...architectures].map((architecture, index) => {
    const line = `<polyline class="${architecture}" points="0,0 26,0" stroke="#8c959f"/>`;
    return `<g transform="translate(${panel.left + index * 150} 46)">${line}<text x="34" y="4">${architecture}</text></g>`;
  });
  return [...entries, ...lines].join('\n');
}

function panelOf(points, factor, most) {
  const own = points.filter((point) => point.factor === factor);
  const values = [...new Set(own.map(({ value }) => value))].sort((a, b) => a - b);
  const [first, last] = [values[0], values.at(-1)].map(Math.log2);
  // A single value lies in the middle.
  const along = (value) => (last > first ? (Math.log2(value) - first) / (last - first) : 0.5);
  const x = (value) => round(panel.left + along(value) * panel.width);
  const y = (rate) => round(panel.top + (1 - rate / most) * panel.height);
  const [bottom, right] = [panel.top + panel.height, panel.left + panel.width];
  const parts = [
    `<text class="title" x="${panel.left}" y="${panel.top - 14}">${factorTitles[factor]}</text>`,
    `<text transform="translate(14 ${panel.top + panel.height / 2}) rotate(-90)" text-anchor="middle">live GF/s per thread</text>`,
    `<text x="${panel.left + panel.width / 2}" y="${bottom + 40}" text-anchor="middle">${axisTitles[factor]} (logarithmic)</text>`,
  ];
  for (let tick = 0; tick <= 4; tick += 1) {
    const rate = (most * tick) / 4;
    parts.push(`<line class="grid" x1="${panel.left}" x2="${right}" y1="${y(rate)}" y2="${y(rate)}"/>`);
    parts.push(`<text x="${panel.left - 8}" y="${y(rate) + 4}" text-anchor="end">${rate}</text>`);
  }
  for (const value of labelled(values, x)) {
    parts.push(`<line class="grid" x1="${x(value)}" x2="${x(value)}" y1="${bottom}" y2="${bottom + 5}"/>`);
    parts.push(`<text x="${x(value)}" y="${bottom + 19}" text-anchor="middle">${value}</text>`);
  }
  parts.push(
    `<rect class="frame" x="${panel.left}" y="${panel.top}" width="${panel.width}" height="${panel.height}"/>`,
  );
  for (const architecture of new Set(own.map((point) => point.architecture))) {
    measures.forEach((name, index) => {
      const line = own
        .filter((point) => point.architecture === architecture && point.measures[name] !== undefined)
        .map((point) => [x(point.value), y(point.measures[name].rate)]);
      if (line.length === 0) return;
      const path = line.map((place) => place.join(',')).join(' ');
      parts.push(`<polyline class="m${index} ${architecture}" points="${path}"/>`);
      parts.push(...line.map(([at, rate]) => mark(index, at, rate)));
    });
  }
  return parts.join('\n');
}

/** Draws a circle, square or triangle, so that the measures can be told apart without their colours too. */
function mark(index, x, y) {
  const shapes = [
    `<circle class="m0" cx="${x}" cy="${y}" r="3"/>`,
    `<rect class="m1" x="${x - 3}" y="${y - 3}" width="6" height="6"/>`,
    `<path class="m2" d="M${x - 4} ${y + 3}h8l-4 -7z"/>`,
  ];
  return shapes[index];
}

/** Returns the values whose labels have room beside each other. */
function labelled(values, x) {
  const shown = [];
  for (const value of values) if (shown.length === 0 || x(value) - x(shown.at(-1)) >= 24) shown.push(value);
  return shown;
}

function ratesOf({ measures: measured }) {
  return Object.values(measured).map(({ rate }) => rate);
}

/** Returns the end of an axis from 0, a number that divides into four parts of one or two digits. */
function niceMost(most) {
  const steps = [5, 10, 15, 20, 25, 30, 40, 50, 75, 100, 150, 200, 250, 500, 1000];
  return 4 * (steps.find((step) => 4 * step >= most) ?? Math.ceil(most / 4));
}

function round(value) {
  return Math.round(10 * value) / 10;
}

const begin = '<!-- scaling tables: made by scripts/bench/scaling-plot.mjs -->';
const end = '<!-- end of scaling tables -->';

/** Returns `text` with the tables of a report between the marks. Throws where there are no marks. */
export function withScaling(text, report, path) {
  const [start, stop] = [text.indexOf(begin), text.indexOf(end)];
  if (start < 0 || stop < start) throw new Error(`the text lacks '${begin}' … '${end}'`);
  return `${text.slice(0, start + begin.length)}\n${scalingText(report, path)}\n${text.slice(stop)}`;
}

function scalingText(report, path) {
  const { device, machine, scaling, date, commit } = report;
  const lists = [
    ['Slower than the bound, for a known reason:', scaling.excused],
    ['**Outside the bounds:**', scaling.failures],
  ].flatMap(([title, texts]) => {
    return texts.length === 0 ? [] : [`${title}\n\n${texts.map((text) => `- ${text}`).join('\n')}`];
  });
  return [
    '![Live GF/s per thread over batch size, channels, image side, levels and threads](scaling.svg)',
    `${device.name}, ${device.instructionSet}, ${device.threads} threads, ${date.slice(0, 10)}, commit ${commit.slice(0, 7)}, ${scaling.seconds.toFixed(0)} s. Report: \`${path}\`.`,
    [...machineLines(machine), latencyLine(scaling.points.map(({ coreToCoreNs }) => coreToCoreNs))]
      .map((line) => `- ${line.replaceAll('|', '/')}`)
      .join('\n'),
    scalingMarkdown(scaling),
    ...lists,
  ].join('\n\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = process.argv[2];
  if (path === undefined) fail('Usage: node scripts/bench/scaling-plot.mjs scripts/bench/reports/NAME.json');
  const report = JSON.parse(readFileSync(path, 'utf8'));
  if (report.scaling === undefined) fail(`${path} is no report of npm run bench -- --scaling`);
  const text = `${root}docs/scaling.md`;
  writeFileSync(text, withScaling(readFileSync(text, 'utf8'), report, path));
  writeFileSync(`${root}docs/scaling.svg`, scalingPlot(report));
}
