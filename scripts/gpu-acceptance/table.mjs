// Writes the README's table of GPU numbers from a report of scripts/gpu-acceptance.
// Usage: node scripts/gpu-acceptance/table.mjs scripts/gpu-reports/NAME.json
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fail, root } from '../steps.mjs';

const begin = '<!-- gpu numbers: made by scripts/gpu-acceptance/table.mjs -->';
const end = '<!-- end of gpu numbers -->';

/** `text` with the table of `report` between the marks; throws where there are no marks. */
export function withTable(text, report, path) {
  const [start, stop] = [text.indexOf(begin), text.indexOf(end)];
  if (start < 0 || stop < start) throw new Error(`the text lacks '${begin}' … '${end}'`);
  return `${text.slice(0, start + begin.length)}\n${table(report, path)}${text.slice(stop)}`;
}

function table(report, path) {
  if (report.emulated) throw new Error('this report is of the emulated GPU: its numbers mean nothing');
  const { training, sampling, precision, peer } = report.parts.throughput;
  const number = (value, digits = 0) => (Number.isFinite(value) ? value.toFixed(digits) : '–');
  const rows = [
    ...training.map((row) => [
      `training, ${row.model}`,
      row.batch,
      number(row.imagesPerSecond),
      `${number(row.timesEager, 2)}× eager, ${number(row.timesCompiled, 2)}× compiled`,
      `${number(100 * row.shareOfMatmul)}%`,
    ]),
    ...sampling.map((row) => [
      `sampling, ${row.model}`,
      row.batch,
      number(row.imagesPerSecond, 1),
      `${number(row.timesOneForwardPerPixel)}× one forward per pixel`,
      `${number(row.milliseconds, 1)} ms`,
    ]),
  ];
  const failures = Object.values(report.parts).reduce((sum, part) => sum + part.failures.length, 0);
  return [
    `${report.gpu}, ${precision}, driver ${report.driver}; beside PyTorch ${peer.torch ?? '(none)'} in bf16, channels last, on`,
    `the same GPU in the same run. ${failures} failed checks. Report: [${path}](${path}).`,
    '',
    '| | batch | images/s | PyTorch | live taps of the matmul rate, or time |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = process.argv[2];
  if (path === undefined) fail('Usage: node scripts/gpu-acceptance/table.mjs scripts/gpu-reports/NAME.json');
  const readme = `${root}README.md`;
  const report = JSON.parse(readFileSync(path, 'utf8'));
  writeFileSync(readme, withTable(readFileSync(readme, 'utf8'), report, path));
}
