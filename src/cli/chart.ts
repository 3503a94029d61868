// Draws a line chart as SVG: a few named series over training steps.

export type Point = readonly [x: number, y: number];

export interface Series {
  readonly name: string;
  readonly color: string;
  /** (step, value), with increasing steps. */
  readonly points: readonly Point[];
  /** Draws dots on the points and a wide line, for series of few points. */
  readonly dots?: boolean;
  /** Draws the series thin, pale and without a name, as background to another series. */
  readonly faint?: boolean;
}

const width = 800;
const height = 450;
const area = { left: 70, right: 24, top: 52, bottom: 54 };
const grey = '#5f6670';

/** Returns the whole SVG document, with a white background so that it is readable anywhere. */
export function lineChart(options: {
  title: string;
  xLabel: string;
  yLabel: string;
  series: readonly Series[];
}): string {
  const { title, xLabel, yLabel, series } = options;
  const drawn = series.filter(({ points }) => points.length > 0);
  const xs = drawn.flatMap(({ points }) => points.map(([x]) => x));
  const xTicks = ticks(0, Math.max(1, ...xs), 6);
  const yTicks = ticks(...valueRange(drawn), 6);
  const right = width - area.right;
  const bottom = height - area.bottom;
  const x = scale([0, Math.max(1, ...xs)], [area.left, right]);
  const y = scale([yTicks[0]!, yTicks.at(-1)!], [bottom, area.top]);

  const grid = yTicks.map((tick) => {
    const at = y(tick).toFixed(1);
    return (
      `<line x1="${area.left}" x2="${right}" y1="${at}" y2="${at}" stroke="#e3e6ea"/>` +
      text(area.left - 8, y(tick) + 4, tickText(tick, yTicks), { anchor: 'end', fill: grey })
    );
  });
  const axis = xTicks.map((tick) => {
    const at = x(tick).toFixed(1);
    return (
      `<line x1="${at}" x2="${at}" y1="${bottom}" y2="${bottom + 5}" stroke="${grey}"/>` +
      text(x(tick), bottom + 20, tickText(tick, xTicks), { anchor: 'middle', fill: grey })
    );
  });
  const lines = drawn.map((one) => {
    const points = one.points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`);
    const [stroke, opacity] = one.faint ? [1, 0.35] : [2, 1];
    const line = `<polyline fill="none" stroke="${one.color}" stroke-width="${stroke}" stroke-opacity="${opacity}" stroke-linejoin="round" points="${points.join(' ')}"/>`;
    const dots = one.dots
      ? points.map((point) => {
          const [cx, cy] = point.split(',');
          return `<circle cx="${cx}" cy="${cy}" r="3.5" fill="${one.color}"/>`;
        })
      : [];
    return [line, ...dots].join('');
  });
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="13">`,
    `<title>${escapeXml(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<clipPath id="area"><rect x="${area.left}" y="${area.top - 4}" width="${right - area.left + 4}" height="${bottom - area.top + 8}"/></clipPath>`,
    text(area.left, 24, title, { size: 16, weight: 600 }),
    ...grid,
    `<line x1="${area.left}" x2="${right}" y1="${bottom}" y2="${bottom}" stroke="${grey}"/>`,
    ...axis,
    `<g clip-path="url(#area)">${lines.join('')}</g>`,
    ...legend(drawn.filter(({ faint }) => !faint)),
    text((area.left + right) / 2, height - 12, xLabel, { anchor: 'middle', fill: grey }),
    `<g transform="translate(18 ${(area.top + bottom) / 2}) rotate(-90)">${text(0, 0, yLabel, { anchor: 'middle', fill: grey })}</g>`,
    '</svg>',
    '',
  ].join('\n');
}

/** Writes the name and the last value of each series at the top right. */
function legend(series: readonly Series[]): string[] {
  return series.map(({ name, color, points }, i) => {
    const at = { x: width - area.right - 190, y: area.top + 14 + 20 * i };
    const label = `${name}: ${points.at(-1)![1].toFixed(4)}`;
    return (
      `<line x1="${at.x}" x2="${at.x + 22}" y1="${at.y - 4}" y2="${at.y - 4}" stroke="${color}" stroke-width="3"/>` +
      text(at.x + 30, at.y, label, {})
    );
  });
}

function text(
  x: number,
  y: number,
  content: string,
  style: { anchor?: string; fill?: string; size?: number; weight?: number },
): string {
  const { anchor = 'start', fill = '#1c2126', size = 13, weight = 400 } = style;
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" text-anchor="${anchor}" fill="${fill}" font-size="${size}" font-weight="${weight}">${escapeXml(content)}</text>`;
}

function escapeXml(content: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return content.replace(/[&<>"]/g, (character) => entities[character]!);
}

/**
 * Returns the range from the lowest value to the 95th percentile, so that the high losses of the first steps do
 * not flatten the rest.
 */
function valueRange(series: readonly Series[]): [number, number] {
  const values = series.flatMap(({ points }) => points.map(([, value]) => value)).sort((a, b) => a - b);
  if (values.length === 0) return [0, 1];
  const low = values[0]!;
  const high = values[Math.floor(0.95 * (values.length - 1))]!;
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

function scale(from: readonly [number, number], to: readonly [number, number]): (value: number) => number {
  return (value) => to[0] + ((value - from[0]) / (from[1] - from[0])) * (to[1] - to[0]);
}

/** Returns about `count` round numbers that enclose [low, high]. If `low` is 0, the last one may lie below `high`. */
function ticks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const first = Math.floor(low / step);
  const last = low === 0 ? Math.floor(high / step) : Math.ceil(high / step);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

function tickText(tick: number, all: readonly number[]): string {
  const step = all.length > 1 ? all[1]! - all[0]! : 1;
  if (step >= 1000) return `${tick / 1000}k`.replace('0k', tick === 0 ? '0' : '0k');
  return tick.toFixed(Math.max(0, -Math.floor(Math.log10(step))));
}
