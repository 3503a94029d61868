// Writes the README's table of GPU numbers from a report of scripts/gpu-acceptance.
// Usage: node scripts/gpu-acceptance/table.mjs scripts/gpu-reports/NAME.jsonl
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { fail, root } from '../steps.mjs';
import { readReport } from './report.mjs';
import { measured, number, titleOf } from './summary.mjs';

const begin = '<!-- gpu numbers: made by scripts/gpu-acceptance/table.mjs -->';
const end = '<!-- end of gpu numbers -->';

/** Returns `text` with the table of `report` between the marks. Throws where there are no marks. */
export function withTable(text, report, path) {
  const [start, stop] = [text.indexOf(begin), text.indexOf(end)];
  if (start < 0 || stop < start) throw new Error(`the text lacks '${begin}' … '${end}'`);
  return `${text.slice(0, start + begin.length)}\n${table(report, path)}${text.slice(stop)}`;
}

function table(report, path) {
  const { runs, parts } = report;
  if (runs.length === 0) throw new Error(`${path} holds no run`);
  if (runs.some(({ emulated }) => emulated))
    throw new Error('this report is of the emulated GPU: its numbers mean nothing');
  const cards = [...new Set(runs.map(({ gpu }) => gpu.name))];
  if (cards.length > 1) throw new Error(`this report is of several GPUs: ${cards.join(', ')}`);
  const { training, sampling, torch, device } = measured(report);
  const rows = [
    ...training.map((row) => [
      `${titleOf('training', row)}, ${row.kernels} kernels`,
      row.batch,
      number(row.imagesPerSecond),
      `${number(row.timesEager, 2)}× eager, ${number(row.timesCompiled, 2)}× compiled`,
      `${number(100 * row.shareOfMatmul)}%`,
    ]),
    ...sampling.map((row) => [
      titleOf('sampling', row),
      row.batch,
      number(row.imagesPerSecond, 1),
      `${number(row.timesOneForwardPerPixel)}× one forward per pixel`,
      `${number(row.milliseconds, 1)} ms`,
    ]),
  ];
  const statuses = [...parts.values()].map(({ status }) => status);
  const count = (status) => statuses.filter((other) => other === status).length;
  const { gpu, commit } = runs.at(-1);
  return [
    `${gpu.name}, driver ${gpu.driver}, ${device?.precision ?? '–'}, cuDNN ${device?.cudnn ?? '–'}; the default model on 28×28`,
    `images, beside PyTorch ${torch ?? '–'} in bf16, channels last, on the same GPU. Of ${statuses.length} parts`,
    `${count('passed')} passed, ${count('failed') + count('timed out')} failed; commit ${commit.slice(0, 7)}. Report: [${path}](${path}).`,
    '',
    '| | batch | images/s | PyTorch | live taps of the matmul rate, or time |',
    '| --- | --- | --- | --- | --- |',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
    '',
  ].join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = process.argv[2];
  if (path === undefined) fail('Usage: node scripts/gpu-acceptance/table.mjs scripts/gpu-reports/NAME.jsonl');
  const readme = `${root}README.md`;
  try {
    writeFileSync(readme, withTable(readFileSync(readme, 'utf8'), readReport(path), path));
  } catch (error) {
    fail(error.message);
  }
}
